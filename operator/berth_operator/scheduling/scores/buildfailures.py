"""Nodes that refused no VM lately, and failed to start none.

Source: Nova's BuildFailureWeigher: a broken node is empty, so every other score would choose it again and again.
"""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.plugins import Score, greatest
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def rate(snapshot: Snapshot, _request: Request, feasible: BoolArray) -> FloatArray | None:
    """1 without failures, 0 for the node with the most."""
    if not snapshot.troubled:
        return None
    most = greatest(snapshot.failures, feasible)
    return np.asarray(1 - snapshot.failures / most) if most else None


SCORE = Score("BuildFailures", rate, weight=5.0)
