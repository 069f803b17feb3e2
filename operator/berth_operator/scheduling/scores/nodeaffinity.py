"""Preferred nodeAffinity: the sum of the weights of the terms that a node matches, by the largest.

Source: kube-scheduler's NodeAffinity.
"""

import numpy as np

from berth_operator.scheduling.matching import matching_term
from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.plugins import Score, greatest
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def rate(snapshot: Snapshot, request: Request, feasible: BoolArray) -> FloatArray | None:
    """Weight matched, of the most that a feasible node matches."""
    if not request.requirements.preferred_nodes:
        return None
    raw = snapshot.remember(("preferred", request.requirements.preferred_nodes), lambda: _raw(snapshot, request))
    most = greatest(raw, feasible)
    return raw / most if most else None


def _raw(snapshot: Snapshot, request: Request) -> FloatArray:
    raw = np.zeros(snapshot.rows, dtype=np.float64)
    for weight, term in request.requirements.preferred_nodes:
        raw += weight * matching_term(snapshot, term)
    return raw


SCORE = Score("NodeAffinity", rate, weight=2.0)
