"""What a VM leaves on a node: everything that must be there while it runs, and must be gone when it is deleted."""

import json
import time
from pathlib import Path

from berth_dev.clusters import Cluster
from berth_dev.nodes import NodeHandle
from berth_dev.processes import poll_until

Traces = dict[str, dict[str, list[str]]]
"""By node and kind of trace."""
PATIENCE = 20.0
"""Seconds for the kernel, which takes away a dying network namespace and its links when it finds the time."""

_FOLDERS = ("/var/lib/berth", "/var/lib/cni", "/run/cni")
_DHCP_PID_FILE = "--pid-file=/var/lib/berth/network/dhcp/"


def traces(node: NodeHandle) -> dict[str, list[str]]:
    """Everything on a node that a VM could leave behind."""
    links = json.loads(node.exec(["ip", "-j", "link"]).stdout)
    files = node.exec(["find", *_FOLDERS, "-type", "f", "-not", "-path", "*/images/*"]).stdout.split()
    return {
        "domains": node.exec(["virsh", "list", "--all", "--name"]).stdout.split(),
        "links": sorted(link["ifname"] for link in links),
        "namespaces": sorted(node.exec(["ip", "netns", "list"]).stdout.split()),
        "files": sorted(files),
        "qemu": node.exec(["sh", "-c", "ls /run/libvirt/qemu/*.pid 2>/dev/null || true"]).stdout.split(),
        "dnsmasq": _dhcp_servers(node),
    }


def all_traces(cluster: Cluster) -> Traces:
    return {node.name: traces(node) for node in cluster.nodes}


def assert_nothing_left(cluster: Cluster, before: Traces) -> None:
    """Wait until the nodes are as they were before; fails with what is there too much, or missing."""
    deadline = time.monotonic() + PATIENCE
    while (now := all_traces(cluster)) != before:
        if not poll_until(deadline, interval=0.5):
            assert now == before, "a VM has left something behind"


def _dhcp_servers(node: NodeHandle) -> list[str]:
    """The pid files that the node's running dnsmasq processes were started with: also of one whose file is gone.

    All nodes share the machine's process ids; what tells whose a process is, is its mount namespace.
    """
    found: set[str] = set()
    own = Path(f"/proc/{node.holder.pid}/ns/mnt").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            files = [argument for argument in arguments if argument.startswith(_DHCP_PID_FILE)]
            if files and (process / "ns/mnt").readlink() == own:
                found.update(files)
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
    return sorted(found)
