"""Topology spread constraints that may be broken (ScheduleAnyway): the fewer VMs of the group near, the better.

Source: kube-scheduler's PodTopologySpread scoring: rarer topologies weigh more, by the logarithm of their number.
"""

from math import log

import numpy as np

from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.plugins import Score, extremes
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot
from berth_operator.scheduling.spreading import counted, domain_counts, keyed


def rate(snapshot: Snapshot, request: Request, feasible: BoolArray) -> FloatArray | None:
    """1 for the emptiest domains, less for fuller ones, 0 for nodes without the keys."""
    if not request.soft_spread:
        return None
    eligible = counted(snapshot, request, request.soft_spread)
    having = keyed(snapshot, request.soft_spread)
    rated = feasible & having
    if not rated.any():
        return None
    raw = np.zeros(snapshot.rows, dtype=np.float64)
    for constraint in request.soft_spread:
        column = snapshot.label(constraint.topology_key)
        counts = domain_counts(snapshot, constraint, eligible)
        domains = np.count_nonzero(np.bincount(column.codes[rated]))
        raw += (counts * log(domains + 2) + (constraint.max_skew - 1)).take(column.codes)
    low, high = extremes(raw, rated)
    if not high:
        return rated.astype(np.float64)
    return np.where(having, (high + low - raw) / high, 0.0)


SCORE = Score("TopologySpread", rate, weight=2.0)
