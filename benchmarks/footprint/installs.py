"""(d) How long `helm install --wait` takes on two nodes that hold the images, beside a chart that does nothing.

The bare chart has as many Pods as Berth's, of the same kinds: a Deployment of two replicas and a DaemonSet, both of the
pause image, no hooks. So it takes what helm and kubelets take with anybody. Every round has a cluster of its own: what
an installation leaves there by intent (definitions) would make the next one faster.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Measured, spread
from benchmarks.footprint.options import Options
from benchmarks.footprint.reports import markdown
from berth_dev import caches, containers, releases
from berth_dev.clusters import Cluster
from berth_dev.progress import Say
from berth_dev.startup import project_root
from berth_dev.states import Options as ClusterOptions

_CLUSTER = "bench-footprint"
_REPLICAS = 2
_TIMEOUT = 120


async def measure(options: Options, say: Say) -> Measured:
    """Install Berth and the bare chart on fresh clusters, print the table, and return the medians in seconds."""
    builds = (containers.operator_image, containers.agent_image)
    archives = [await asyncio.to_thread(build, caches.cache_root(), project_root(), say) for build in builds]
    installs: dict[str, Callable[[Cluster], float]] = {
        "Berth": partial(_install_berth, archives),
        "bare chart": _install_bare,
    }
    samples: dict[str, list[float]] = {name: [] for name in installs}
    for number in range(options.rounds):
        for name in installs if number % 2 == 0 else reversed(installs):
            took = await asyncio.to_thread(_on_fresh_cluster, installs[name], say)
            say(f"{name}: {took:.1f} s")
            samples[name].append(took)
    markdown(
        "(d) helm install, to ready",
        ("", "rounds", "median s", "least", "most"),
        [_row(name, times) for name, times in samples.items()],
    )
    return [], {"install_s": median(samples["Berth"]), "install_bare_s": median(samples["bare chart"])}


def _row(name: str, times: Sequence[float]) -> tuple[str, ...]:
    least, middle, most = spread(times)
    return name, str(len(times)), f"{middle:.1f}", f"{least:.1f}", f"{most:.1f}"


def _on_fresh_cluster(install: Callable[[Cluster], float], say: Say) -> float:
    chosen = ClusterOptions(nodes=2, operator=False, agent=False, kubelets=True)
    cluster = Cluster.up(_CLUSTER, chosen, say=say, anew=True)
    try:
        return install(cluster)
    finally:
        cluster.down(say=say)


def _install_berth(archives: Sequence[Path], cluster: Cluster) -> float:
    for archive in archives:
        cluster.import_image(archive)
    begin = time.monotonic()
    releases.install(cluster, project_root() / "charts" / "berth")
    return time.monotonic() - begin


def _install_bare(cluster: Cluster) -> float:
    with tempfile.TemporaryDirectory(prefix="berth-footprint-") as folder:
        chart = Path(folder)
        (chart / "templates").mkdir()
        _write(chart / "Chart.yaml", {"apiVersion": "v2", "name": "bare", "version": "0.1.0"})
        _write(chart / "templates" / "operator.yaml", _workload("Deployment", {"replicas": _REPLICAS}))
        _write(chart / "templates" / "agent.yaml", _workload("DaemonSet", {}))
        begin = time.monotonic()
        cluster.helm("install", "bare", str(chart), "--wait", "--timeout", f"{_TIMEOUT}s", timeout=_TIMEOUT + 30)
        return time.monotonic() - begin


def _workload(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": kind.lower()}
    container = {"name": "pause", "image": containers.PAUSE_REFERENCE, "imagePullPolicy": "Never"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": f"bare-{kind.lower()}"},
        "spec": {"selector": {"matchLabels": labels}, "template": pod, **spec},
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    """JSON is YAML, too."""
    path.write_text(json.dumps(content), encoding="utf-8")
