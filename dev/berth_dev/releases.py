"""Berth on a cluster of kubelets, brought there by its chart as to anybody's, but with images that no registry has."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from berth_dev import nodefs
from berth_dev.berthparts import NAMESPACE
from berth_dev.clusters import Cluster
from berth_dev.states import Run

RELEASE = "berth"
INSTALL_TIMEOUT = 240.0
_AGENTS_TIMEOUT = 90.0


def values(run: Run) -> Mapping[str, object]:
    """What of the chart's values depends on the cluster: how guests run, their images' server, and their network."""
    plan = run.plan
    network = {
        "cni": {
            "cniVersion": "1.0.0",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "vmbr0",
                    "ipam": {"type": "static"},
                    "capabilities": {"ips": True, "mac": True},
                }
            ],
        },
        "subnets": [
            {
                "cidr": str(plan.vm_subnet),
                "gateway": str(plan.vm_gateway),
                "range": {"start": str(plan.vm_gateway + 9), "end": str(plan.vm_gateway + 249)},
            }
        ],
    }
    agent = {
        "accelerator": run.options.accelerator,
        "image_denied_cidrs": str(plan.network),
        "image_allowed_cidrs": f"{plan.image_server}/32",
    }
    return {
        "agent": {"settings": agent, "imageFileDir": nodefs.IMPORT_FOLDER},
        "libvirt": {"mode": "host" if run.options.libvirt else "managed"},
        "defaults": {"virtualNetwork": {"create": True, "spec": network}},
    }


def install(
    cluster: Cluster, chart: Path, *more: str, images: Sequence[Path] = (), timeout: float = INSTALL_TIMEOUT
) -> str:
    """Install or upgrade Berth, and wait until all of it is ready.

    Args:
        cluster: One with kubelets.
        chart: The chart's folder.
        more: Further arguments of `helm upgrade`: `--set`, `agent.logLevel=DEBUG`.
        images: Archives to bring to every node first.
        timeout: Seconds that helm may wait.

    Returns:
        What helm printed.

    Raises:
        CommandError: An image was not taken, or the release did not get ready.
    """
    for image in images:
        cluster.import_image(image)
    chosen = cluster.run.state / "chart-values.json"
    chosen.write_text(json.dumps(values(cluster.run), indent=2), encoding="utf-8")
    said = cluster.helm(
        *("upgrade", "--install", RELEASE, str(chart), "--namespace", NAMESPACE, "--create-namespace"),
        *("--values", str(chosen), "--wait", "--timeout", f"{timeout:g}s", *more),
        timeout=timeout + 60,
    )
    # helm takes as many agents for ready that are not as may be away during an upgrade: on few nodes, one.
    rollout = ("rollout", "status", "daemonset/berth-agent", "--namespace", NAMESPACE)
    cluster.kubectl(*rollout, f"--timeout={_AGENTS_TIMEOUT:g}s", timeout=_AGENTS_TIMEOUT + 10)
    return said
