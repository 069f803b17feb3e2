"""Nodes whose libvirt answers their agent. Guests run on without it, but none can be started."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, _request: Request) -> BoolArray:
    """Nodes of which the contrary is not known."""
    return snapshot.libvirt


FILTER = Filter("Libvirt", keep, "has no libvirt that answers", "have no libvirt that answers", lasting=True)
