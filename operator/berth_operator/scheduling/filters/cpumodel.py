"""Nodes that have the CPU model that the VM names."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import ANY_CPU_MODEL, Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes that list the model, or list none."""
    model = request.requirements.cpu_model
    if model in ANY_CPU_MODEL:
        return None
    return snapshot.cpu_models.where(lambda models: not models or model in models)


def detail(_snapshot: Snapshot, request: Request, _rejected: BoolArray) -> str:
    """The model in question."""
    return request.requirements.cpu_model


FILTER = Filter(
    "CPUModel", keep, "does not have the CPU model", "do not have the CPU model", detail, lasting=True, optional=True
)
