"""Nodes from which few VMs migrate: a migration takes its share of link, CPU and patience.

Source: Nova's IoOpsWeigher.
"""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.plugins import Score, greatest
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def rate(snapshot: Snapshot, _request: Request, feasible: BoolArray) -> FloatArray | None:
    """1 without migrations, 0 for the node with the most."""
    if not snapshot.troubled:
        return None
    most = greatest(snapshot.migrations, feasible)
    return np.asarray(1 - snapshot.migrations / most) if most else None


SCORE = Score("Migrations", rate)
