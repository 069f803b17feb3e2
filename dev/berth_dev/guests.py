"""The guests' QEMU processes as the kernel sees them: what really runs, whatever libvirt or the API says.

All nodes of a cluster share the machine's process ids. What tells whose a guest is, is its network namespace: its
mounts are its libvirtd's, which has some of its own where Berth has brought it to the node.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from berth_dev.processes import ProcessIdentity

_COMM = b"qemu-system-"


@dataclass(frozen=True)
class GuestProcess:
    """A QEMU that runs a domain.

    Attributes:
        domain: The domain's name.
        uuid: The domain's UUID.
        holder: The process that holds the namespaces of the node on which it runs.
        identity: The process.
    """

    domain: str
    uuid: str
    holder: int
    identity: ProcessIdentity


def find(holders: Iterable[int]) -> list[GuestProcess]:
    """Every guest on the nodes that these processes hold, in no order.

    QEMUs that libvirt starts to learn what they can do run no domain, and are left out.
    """
    nodes = {namespace: holder for holder in holders if (namespace := _namespace_of(Path(f"/proc/{holder}")))}
    found = (_read(entry, nodes) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [guest for guest in found if guest is not None]


def _read(entry: Path, nodes: dict[str, int]) -> GuestProcess | None:
    try:
        if not (entry / "comm").read_bytes().startswith(_COMM):
            return None
        holder = nodes.get(_namespace_of(entry) or "")
        arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # it has ended meanwhile
        return None
    identity, name = ProcessIdentity.of(int(entry.name)), argument(arguments, "-name")
    if holder is None or identity is None or not name.startswith("guest="):
        return None
    return GuestProcess(name.removeprefix("guest=").partition(",")[0], argument(arguments, "-uuid"), holder, identity)


def argument(arguments: list[str], option: str) -> str:
    """What follows an option on a command line; empty where it has none."""
    after = [value for key, value in pairwise(arguments) if key == option]
    return after[0] if after else ""


def _namespace_of(entry: Path) -> str | None:
    try:
        return str((entry / "ns/net").readlink())
    except OSError:  # it has ended meanwhile
        return None
