"""The node that the user pinned the VM to with `nodeName`."""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray:
    """The pinned node, or all where there is no pin."""
    if not request.node_name:
        return np.ones(len(snapshot.nodes), dtype=np.bool_)
    return snapshot.nodes.mask([request.node_name])


def detail(_snapshot: Snapshot, request: Request, _rejected: BoolArray) -> str:
    """Which node it was to be."""
    return f"nodeName: {request.node_name}"


FILTER = Filter("Pinned", keep, "is not the pinned node", "are not the pinned node", detail)
