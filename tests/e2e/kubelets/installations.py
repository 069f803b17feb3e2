"""Berth on the cluster of kubelets, and what tests ask of both."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.e2e.conftest import VM, address_of, http_answer

from berth_dev import releases, startup
from berth_dev.clusters import Cluster
from berth_dev.demo import for_cluster
from berth_dev.processes import poll_until
from berth_dev.progress import timed_lines

NAMESPACE = "berth-system"
ANCHORS = "berth.dev/anchor=true"
EXAMPLES = ("image.yaml", "vms.yaml")
GUESTS = ("web-1", "web-2", "web-3")
CHART = startup.project_root() / "charts" / "berth"


class Installation:
    """The cluster with Berth on it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.boots: dict[str, str] = {}
        self.say = timed_lines()

    def install(self, title: str, *more: str) -> None:
        """Install or upgrade, and tell how long it took until all was ready."""
        begin = time.monotonic()
        releases.install(self.cluster, CHART, *more)
        self.say(f"{title}: {time.monotonic() - begin:.1f} s")

    def listed(self, *args: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.cluster.kubectl("get", *args, "-o", "json"))["items"]
        return items

    def pods(self, component: str) -> list[dict[str, Any]]:
        return self.listed("pods", "-n", NAMESPACE, "-l", f"app.kubernetes.io/component={component}")

    def anchor(self, node: str) -> dict[str, Any]:
        found = self.listed("pods", "-n", NAMESPACE, "-l", ANCHORS, "--field-selector", f"spec.nodeName={node}")
        assert len(found) == 1
        return found[0]

    def examples(self) -> str:
        folder = startup.project_root() / "examples"
        return "---\n".join(for_cluster((folder / file).read_text("utf-8"), self.cluster) for file in EXAMPLES)

    def vm(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cluster.kubectl("get", VM, name, "-o", "json"))
        return found

    def another(self, name: str, **spec: Any) -> dict[str, Any]:
        """Another VM with the disk of the first of the examples."""
        return {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "VirtualMachine",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"disks": self.vm(GUESTS[0])["spec"]["disks"], **spec},
        }

    def phase(self, name: str) -> str:
        phase: str = self.vm(name).get("status", {}).get("phase", "Pending")
        return phase

    def booted(self, names: Sequence[str] = GUESTS) -> dict[str, str]:
        """The boot ID that each guest tells of itself, over its network."""
        return {name: http_answer(address_of(self.vm(name)))["boot_id"] for name in names}

    def wait_ready(self, names: Sequence[str] = GUESTS, seconds: int = 180) -> None:
        wait = ("wait", "--for=condition=Ready", f"--timeout={seconds}s")
        self.cluster.kubectl(*wait, *(f"{VM}/{name}" for name in names), timeout=seconds + 10)

    def spread_operators(self) -> None:
        """Have each operator on a node of its own again, after one node had to take both."""
        rollout = ("rollout", "status", "-n", NAMESPACE, "deployment/berth-operator", "--timeout=120s")
        self.cluster.kubectl(*rollout, timeout=130)
        operators = [pod for pod in self.pods("operator") if "deletionTimestamp" not in pod["metadata"]]
        if len({pod["spec"]["nodeName"] for pod in operators}) < len(operators):
            name = operators[0]["metadata"]["name"]
            self.cluster.kubectl("delete", "pod", "-n", NAMESPACE, name, "--timeout=60s", timeout=70)
            self.cluster.kubectl(*rollout, timeout=130)

    def remove(self, *names: str, seconds: int = 90) -> None:
        """Delete VMs and wait until they are gone."""
        self.cluster.kubectl("delete", VM, *names, "--ignore-not-found", f"--timeout={seconds}s", timeout=seconds + 10)


def wait_until(holds: Callable[[], bool], title: str, seconds: float = 60.0) -> None:
    """Ask again and again until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert poll_until(deadline, interval=0.2), title
