"""Berth with a libvirt that it has brought, and what the kernel tells of that libvirt."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.conftest import VM, address_of, http_answer, image

from berth_dev import releases, startup
from berth_dev.archives import amend, read_file
from berth_dev.clusters import Cluster
from berth_dev.processes import poll_until
from berth_dev.progress import timed_lines
from berth_libvirt import contents, processes, trees
from berth_libvirt.contents import Entry
from berth_libvirt.processes import Process

NAMESPACE = "berth-system"
FOLDER = "var/lib/berth-libvirt"
OTHER = "other"
"""The tag of the image with other content."""

CHART = startup.project_root() / "charts" / "berth"
AGENT = "app.kubernetes.io/component=agent"


def with_another_file(archive: Path, target: Path) -> Path:
    """The same image with one file more, as a release would change it: its list names that file."""
    added = b"of another release\n"
    path = "usr/share/berth-libvirt/release"
    entries = [Entry(*json.loads(line)) for line in read_file(archive, contents.LIST).splitlines()]
    entries.append(Entry(path, "f", 0o755, hashlib.sha256(added).hexdigest()))
    files = {f"/{path}": added, f"/{contents.LIST}": contents.dump(entries)}
    amend(archive, target, f"berth-libvirt:{OTHER}", files)
    return target


class Installation:
    """The cluster of one node, with Berth on it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.node = cluster.nodes[0]
        self.say = timed_lines()
        self.boots: dict[str, str] = {}

    @property
    def folder(self) -> Path:
        """Where the node has trees and libvirt's state, seen from the machine."""
        return self.node.private / FOLDER

    def install(self, title: str, *more: str) -> None:
        """Install or upgrade, and tell how long it took until all was ready."""
        begin = time.monotonic()
        releases.install(self.cluster, CHART, "--set", "operator.replicas=1", *more)
        self.say(f"{title}: {time.monotonic() - begin:.1f} s")

    def running(self) -> list[Process]:
        """What runs on the node from any tree."""
        return processes.find(trees.trees(self.folder))

    def daemon(self, name: str) -> Process:
        """The one daemon of this name."""
        (found,) = processes.daemons(self.running(), name)
        return found

    def guest(self, name: str) -> Process:
        """The QEMU of a VM."""
        found = self.node.qemu(f"default_{name}")
        assert found is not None, f"no QEMU runs {name}"
        return next(process for process in self.running() if process.pid == found.identity.pid)

    def node_domains(self) -> list[str]:
        """The VMs whose domains run, as libvirt tells."""
        said = self.node.exec(["virsh", "-q", "-c", "qemu:///system", "list", "--name"]).stdout.split()
        return sorted(name.removeprefix("default_") for name in said)

    def pods(self) -> list[dict[str, Any]]:
        """The node agent's."""
        said = self.cluster.kubectl("get", "pods", "-n", NAMESPACE, "-l", AGENT, "-o", "json")
        items: list[dict[str, Any]] = json.loads(said)["items"]
        return items

    def start(self, name: str) -> None:
        """Apply a small VM, and wait until it answers."""
        spec = {
            "cpu": {"cores": 1},
            "memory": {"size": "96Mi"},
            "disks": [
                {"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "tiny"}, "size": "64Mi"}
            ],
        }
        vm = {"apiVersion": "berth.dev/v1alpha1", "kind": "VirtualMachine", "metadata": {"name": name}, "spec": spec}
        self.cluster.kubectl.apply(
            [image("tiny", self.cluster), {**vm, "metadata": {"name": name, "namespace": "default"}}]
        )
        self.wait_ready(name)
        self.boots[name] = self.booted(name)

    def wait_ready(self, name: str, seconds: int = 120) -> None:
        wait = ("wait", "--for=condition=Ready", f"--timeout={seconds}s", f"{VM}/{name}")
        self.cluster.kubectl(*wait, timeout=seconds + 10)

    def booted(self, name: str) -> str:
        """The boot ID that a guest tells of itself, over its network."""
        vm = json.loads(self.cluster.kubectl("get", VM, name, "-o", "json"))
        return http_answer(address_of(vm))["boot_id"]

    def delete(self, name: str) -> None:
        self.cluster.kubectl("delete", VM, name, "--timeout=60s", timeout=70)


def wait_until(holds: Callable[[], bool], title: str, seconds: float = 60.0) -> float:
    """Wait until something holds; returns the seconds that it took."""
    begin = time.monotonic()
    while not holds():
        assert poll_until(begin + seconds, interval=0.1), title
    return time.monotonic() - begin
