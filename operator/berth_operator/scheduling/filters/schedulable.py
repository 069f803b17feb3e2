"""Nodes that the administrator has not closed: schedulable, not in maintenance, not cordoned."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, _request: Request) -> BoolArray:
    """Open for new VMs."""
    return snapshot.schedulable


FILTER = Filter("Schedulable", keep, "is closed for new VMs", "are closed for new VMs", lasting=True)
