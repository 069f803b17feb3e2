"""Nodes whose QEMU has the machine type that the VM names."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes that list it."""
    wanted = request.requirements.machine_type
    if not wanted:
        return None
    return snapshot.machine_types.where(lambda types: wanted in (types or ()))


def detail(_snapshot: Snapshot, request: Request, _rejected: BoolArray) -> str:
    """The machine type in question."""
    return request.requirements.machine_type


FILTER = Filter("MachineType", keep, "lacks the machine type", "lack the machine type", detail, lasting=True)
