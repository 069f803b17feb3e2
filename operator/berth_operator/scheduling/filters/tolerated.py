"""Nodes without a taint that the VM does not tolerate."""

import numpy as np

from berth_operator.scheduling.matching import FORBIDDING, untolerated
from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray:
    """Nodes whose NoSchedule and NoExecute taints are all tolerated."""
    left = untolerated(request.requirements.tolerations, FORBIDDING)
    return snapshot.taints.where(lambda taints: not left(taints))


def detail(snapshot: Snapshot, request: Request, rejected: BoolArray) -> str:
    """The taints in question."""
    left = untolerated(request.requirements.tolerations, FORBIDDING)
    taints = {str(taint) for row in np.flatnonzero(rejected) for taint in left(snapshot.taints.value(int(row)))}
    return ", ".join(sorted(taints))


FILTER = Filter(
    "Tolerated",
    keep,
    "has a taint that the VM does not tolerate",
    "have taints that the VM does not tolerate",
    detail,
    lasting=True,
    optional=True,
)
