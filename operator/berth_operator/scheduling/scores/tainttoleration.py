"""Nodes with few PreferNoSchedule taints that the VM does not tolerate.

Source: kube-scheduler's TaintToleration.
"""

from berth_operator.scheduling.matching import untolerated
from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.plugins import Score, greatest
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot

_EFFECT = frozenset({"PreferNoSchedule"})


def rate(snapshot: Snapshot, request: Request, feasible: BoolArray) -> FloatArray | None:
    """1 without such taints, 0 for the node with the most."""
    tolerations = request.requirements.tolerations
    raw = snapshot.remember(("intolerable", tolerations), lambda: _count(snapshot, request))
    if raw is None:
        return None
    most = greatest(raw, feasible)
    return 1 - raw / most if most else None


def _count(snapshot: Snapshot, request: Request) -> FloatArray | None:
    left = untolerated(request.requirements.tolerations, _EFFECT)
    raw = snapshot.taints.map(lambda taints: float(len(left(taints))))
    return raw if raw.any() else None


SCORE = Score("TaintToleration", rate, weight=3.0)
