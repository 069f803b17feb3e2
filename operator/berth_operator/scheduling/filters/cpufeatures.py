"""Nodes that can give the guest every CPU feature that the VM asks for."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes that report all of them."""
    wanted = request.requirements.cpu_features
    if not wanted:
        return None
    return snapshot.cpu_features.where(lambda features: wanted <= (features or frozenset()))


def detail(_snapshot: Snapshot, request: Request, _rejected: BoolArray) -> str:
    """The features in question."""
    return ", ".join(sorted(request.requirements.cpu_features))


FILTER = Filter("CPUFeatures", keep, "lacks a CPU feature", "lack a CPU feature", detail, lasting=True)
