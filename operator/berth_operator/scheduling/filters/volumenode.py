"""Nodes that have every node-local volume of the VM."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """The nodes that have them all."""
    rows: BoolArray | None = None
    for nodes in request.requirements.volume_nodes:
        having = snapshot.mask(nodes)
        rows = having if rows is None else rows & having
    return rows


FILTER = Filter("VolumeNode", keep, "does not have a volume of the VM", "do not have a volume of the VM", lasting=True)
