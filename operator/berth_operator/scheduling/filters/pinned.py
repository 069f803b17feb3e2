"""The node that the user pinned the VM to with `nodeName`."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """The pinned node, or all where there is no pin."""
    name = request.requirements.node_name
    return snapshot.mask([name]) if name else None


def detail(_snapshot: Snapshot, request: Request, _rejected: BoolArray) -> str:
    """Which node it was to be."""
    return f"nodeName: {request.requirements.node_name}"


FILTER = Filter("Pinned", keep, "is not the pinned node", "are not the pinned node", detail, lasting=True)
