"""Nodes that can provide the VM's networks. A network that a node has not reported on yet is not held against it."""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes that do not say they cannot."""
    wanted = request.requirements.networks
    if not wanted:
        return None
    return snapshot.failing_networks.where(lambda failing: not failing or wanted.isdisjoint(failing))


def detail(snapshot: Snapshot, request: Request, rejected: BoolArray) -> str:
    """The networks in question, and what the nodes say of them."""
    wanted = request.requirements.networks
    nodes = (snapshot.facts[int(row)] for row in np.flatnonzero(rejected))
    said = {(name, why) for node in nodes if node for name, why in node.failing_networks.items() if name in wanted}
    return "; ".join(f"{name}: {why}" for name, why in sorted(said))


FILTER = Filter(
    "Networks",
    keep,
    "cannot provide a network of the VM",
    "cannot provide a network of the VM",
    detail,
    lasting=True,
)
