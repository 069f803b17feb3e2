"""Nodes with a public key, where user-data from a Secret has to be sealed to it."""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray:
    """Nodes that have reported a key, or all where nothing is secret."""
    if not request.sealed:
        return np.ones(len(snapshot.nodes), dtype=np.bool_)
    return np.array([bool(node.public_key) for node in snapshot.nodes.facts], dtype=np.bool_)


FILTER = Filter("Sealable", keep, "has no public key to seal user-data to", "have no public key to seal user-data to")
