"""VMs in every state that an upgrade may find one in, and what is known of each."""

import json
from collections.abc import Mapping
from typing import Any

from tests.e2e.conftest import VM, address_of, http_answer
from tests.e2e.upgrades.conftest import Release

from berth_dev.clusters import Cluster
from berth_dev.demo import for_cluster
from berth_dev.processes import ProcessIdentity

RUNNING = ("web-1", "web-2", "web-3")
"""Those of the examples; web-2 has a second disk, and web-3 was restarted once."""
HALTED, ENDED, PAUSED, UNPLACEABLE = "halted", "ended", "paused", "unplaceable"
OTHERS = (HALTED, ENDED, PAUSED)
ALL = (*RUNNING, *OTHERS, UNPLACEABLE)
RESTARTED_AT = "2026-01-02T03:04:05Z"
_EXAMPLES = ("image.yaml", "vms.yaml")

Object = Mapping[str, Any]


class Workload:
    """The VMs of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def make(self, release: Release) -> None:
        """Apply a release's examples and more VMs, and bring each into its state."""
        self.cluster.kubectl("apply", "-f", "-", stdin=examples(release, self.cluster))
        more = {ENDED: {"runStrategy": "Once"}, UNPLACEABLE: {"nodeName": "node-99"}}
        self.cluster.kubectl.apply([vm(name, **more.get(name, {})) for name in (*OTHERS, UNPLACEABLE)])
        self.wait_ready(*RUNNING, *OTHERS)
        for name in (*RUNNING, *OTHERS):  # it has an operating system that heeds the power button by now
            http_answer(address_of(self.read(name)))
        self.patch("web-3", restartedAt=RESTARTED_AT)
        self.patch(HALTED, runStrategy="Halted")
        self.patch(PAUSED, paused=True)
        self.cluster.node(self.read(ENDED)["status"]["nodeName"]).exec(["virsh", "shutdown", f"default_{ENDED}"])
        self.wait("web-3", ".status.restartedAt", RESTARTED_AT)
        self.wait(HALTED, ".status.phase", "Stopped")
        self.wait(ENDED, ".status.phase", "Stopped")
        self.wait(PAUSED, ".status.phase", "Paused")
        self.wait(UNPLACEABLE, ".status.phase", "Unschedulable")
        self.wait_ready(*RUNNING)

    def read(self, name: str) -> Object:
        found: Object = json.loads(self.cluster.kubectl("get", VM, name, "-o", "json"))
        return found

    def all(self) -> dict[str, Object]:
        items = json.loads(self.cluster.kubectl("get", VM, "-o", "json"))["items"]
        return {each["metadata"]["name"]: each for each in items}

    def patch(self, name: str, **spec: Any) -> None:
        self.cluster.kubectl("patch", VM, name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def wait(self, name: str, path: str, value: str, seconds: int = 120) -> None:
        what = (f"--for=jsonpath={{{path}}}={value}", f"{VM}/{name}", f"--timeout={seconds}s")
        self.cluster.kubectl("wait", *what, timeout=seconds + 10)

    def wait_ready(self, *names: str, seconds: int = 180) -> None:
        which = [f"{VM}/{name}" for name in names]
        self.cluster.kubectl("wait", "--for=condition=Ready", f"--timeout={seconds}s", *which, timeout=seconds + 10)

    def answer(self, name: str) -> dict[str, str]:
        """What a guest says of itself over its network."""
        return http_answer(address_of(self.read(name)))

    def boots(self) -> dict[str, str]:
        """The boot IDs of those that run."""
        running = [name for name, each in self.all().items() if each["status"]["phase"] == "Running"]
        return {name: self.answer(name)["boot_id"] for name in running}

    def processes(self) -> dict[str, tuple[str, ProcessIdentity]]:
        """The guests' processes and their nodes, by domain: what really runs."""
        return {guest.domain: (node.name, guest.identity) for node in self.cluster.nodes for guest in node.guests()}

    def domains(self) -> dict[str, str]:
        """What libvirt has of every domain: its XML, as it runs or would be started."""
        return {
            name: node.exec(["virsh", "dumpxml", name]).stdout
            for node in self.cluster.nodes
            for name in node.exec(["virsh", "-q", "list", "--all", "--name"]).stdout.split()
        }


def vm(name: str, **spec: Any) -> Object:
    """A small VM on the examples' image."""
    disk = {"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "tiny"}, "size": "64Mi"}
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"cpu": {"cores": 1}, "memory": {"size": "96Mi"}, "disks": [disk], **spec},
    }


def examples(release: Release, cluster: Cluster) -> str:
    """A release's examples, for this cluster."""
    texts = ((release.tree / "examples" / file).read_text(encoding="utf-8") for file in _EXAMPLES)
    return "---\n".join(for_cluster(text, cluster) for text in texts)
