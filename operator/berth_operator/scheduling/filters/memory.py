"""Nodes with enough memory left to claim, QEMU's overhead under the node's accelerator included."""

import numpy as np

from berth_operator.scheduling.fits import Rows
from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import ROOM, Filter, closest, rounded_bytes
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(rows: Rows, request: Request) -> BoolArray:
    """Enough bytes."""
    return np.asarray(rows.free_memory >= rows.memory_wanted(request))


def detail(snapshot: Snapshot, request: Request, rejected: BoolArray) -> str:
    """The node that comes closest."""
    return closest(snapshot, rejected, snapshot.memory_wanted(request) - snapshot.free_memory, rounded_bytes)


FILTER = Filter("Memory", keep, "lacks memory", "lack memory", detail, cured_by=ROOM, rowwise=True, room=True)
