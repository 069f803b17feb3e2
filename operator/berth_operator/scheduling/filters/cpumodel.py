"""Nodes that have the CPU model that the VM names."""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import ANY_CPU_MODEL, Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray:
    """Nodes that list the model, or list none."""
    if request.cpu_model in ANY_CPU_MODEL:
        return np.ones(len(snapshot.nodes), dtype=np.bool_)
    rows = (not node.cpu_models or request.cpu_model in node.cpu_models for node in snapshot.nodes.facts)
    return np.fromiter(rows, dtype=np.bool_, count=len(snapshot.nodes))


def detail(_snapshot: Snapshot, request: Request, _rejected: BoolArray) -> str:
    """The model in question."""
    return request.cpu_model


FILTER = Filter("CPUModel", keep, "does not have the CPU model", "do not have the CPU model", detail)
