"""Nodes that can provide the VM's networks. A network that a node has not reported on yet is not held against it."""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray:
    """Nodes that do not say they cannot."""
    return np.array([not (node.failing_networks & request.networks) for node in snapshot.nodes.facts], dtype=np.bool_)


def detail(snapshot: Snapshot, request: Request, rejected: BoolArray) -> str:
    """The networks in question."""
    rows = (snapshot.nodes.facts[int(row)] for row in np.flatnonzero(rejected))
    return ", ".join(sorted({name for node in rows for name in node.failing_networks & request.networks}))


FILTER = Filter("Networks", keep, "cannot provide a network of the VM", "cannot provide a network of the VM", detail)
