"""What libvirt has found out about this machine's QEMU, kept from one node to the next.

A libvirtd that starts with an empty cache runs every QEMU binary and asks it what it can do, which takes several
seconds of a new node's first use. The answer depends on the machine alone: the QEMU and libvirt binaries, the kernel,
the CPU. libvirt compares all of these with what a cache file says it was made from, and asks again where they differ,
so a file that has become stale costs time and nothing else.
"""

import shutil
from pathlib import Path

from berth_dev.nodes import NodeHandle

FOLDER = "libvirt-capabilities"
_INSIDE = "var/cache/libvirt/qemu/capabilities"
_PROBE_TIMEOUT = 120.0


def seed(private: Path, cache: Path) -> None:
    """Give a node that does not run yet what is known.

    Args:
        private: The node's own part of the file system.
        cache: The cache's root.
    """
    target = private / _INSIDE
    target.mkdir(parents=True, exist_ok=True)
    for known in (cache / FOLDER).glob("*.xml"):
        shutil.copyfile(known, target / known.name)


def keep(node: NodeHandle, cache: Path) -> None:
    """Let a node's libvirt find out what it does not know yet, and keep it for nodes to come.

    Raises:
        CommandError: libvirt does not answer.
    """
    node.exec(["virsh", "-q", "-c", "qemu:///system", "capabilities"], timeout=_PROBE_TIMEOUT)
    folder = cache / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for found in (node.private / _INSIDE).glob("*.xml"):
        _copy_if_new(found, folder / found.name, scratch=folder / f".{node.holder.pid}.new")


def _copy_if_new(source: Path, target: Path, *, scratch: Path) -> None:
    """Replace the target in one step: another cluster may be reading it."""
    content = source.read_bytes()
    if not target.exists() or target.read_bytes() != content:
        scratch.write_bytes(content)
        scratch.replace(target)
