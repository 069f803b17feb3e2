"""Nodes with enough CPU left to claim."""

import numpy as np

from berth_api.quantities import from_millis
from berth_operator.scheduling.fits import Rows
from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import ROOM, Filter, closest
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(rows: Rows, request: Request) -> BoolArray:
    """Enough millicores."""
    return np.asarray(rows.free_cpu >= request.cpu)


def detail(snapshot: Snapshot, request: Request, rejected: BoolArray) -> str:
    """The node that comes closest."""
    return closest(snapshot, rejected, request.cpu - snapshot.free_cpu, lambda short: f"{from_millis(short)} CPU")


FILTER = Filter("CPU", keep, "lacks CPU", "lack CPU", detail, cured_by=ROOM, rowwise=True, room=True)
