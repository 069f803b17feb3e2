"""Nodes with a public key, where user-data from a Secret has to be sealed to it."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes that have reported a key, or all where nothing is secret."""
    return snapshot.sealable if request.requirements.sealed else None


FILTER = Filter(
    "Sealable",
    keep,
    "has no public key to seal user-data to",
    "have no public key to seal user-data to",
    lasting=True,
)
