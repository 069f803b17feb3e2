"""Nodes that refused this very VM a moment ago: their agent knew better than the claims did."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes that did not."""
    return ~snapshot.mask(request.excluded) if request.excluded else None


FILTER = Filter("NotRefused", keep, "refused this VM lately", "refused this VM lately")
