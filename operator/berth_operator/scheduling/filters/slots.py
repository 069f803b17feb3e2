"""Nodes that may hold one more VM: `spec.maxVirtualMachines` of the Hypervisor."""

import numpy as np

from berth_operator.scheduling.fits import Rows
from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import ROOM, Filter
from berth_operator.scheduling.requests import Request


def keep(rows: Rows, _request: Request) -> BoolArray:
    """At least one slot left."""
    return np.asarray(rows.free_slots > 0)


FILTER = Filter("Slots", keep, "has no VM slot left", "have no VM slot left", cured_by=ROOM, rowwise=True, room=True)
