"""Nodes that can provide the VM's networks. A network that a node has not reported on yet is not held against it."""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray:
    """Nodes that do not say they cannot."""
    able = [node.failing_networks.keys().isdisjoint(request.networks) for node in snapshot.nodes.facts]
    return np.array(able, dtype=np.bool_)


def detail(snapshot: Snapshot, request: Request, rejected: BoolArray) -> str:
    """The networks in question, and what the nodes say of them."""
    rows = (snapshot.nodes.facts[int(row)] for row in np.flatnonzero(rejected))
    said = {(name, why) for node in rows for name, why in node.failing_networks.items() if name in request.networks}
    return "; ".join(f"{name}: {why}" for name, why in sorted(said))


FILTER = Filter("Networks", keep, "cannot provide a network of the VM", "cannot provide a network of the VM", detail)
