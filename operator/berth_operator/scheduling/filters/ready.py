"""Nodes whose agent's heartbeat is fresh, and which have reported what they have."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, _request: Request) -> BoolArray:
    """Alive and reported."""
    return snapshot.ready & snapshot.reported


FILTER = Filter(
    "Ready",
    keep,
    "is not ready (no heartbeat of its agent)",
    "are not ready (no heartbeat of their agents)",
    lasting=True,
)
