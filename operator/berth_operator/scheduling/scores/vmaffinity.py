"""Preferred affinity to, and anti-affinity from, placed VMs; both ways, as what they prefer counts too.

Source: kube-scheduler's InterPodAffinity: own preferred terms by the VMs that match them, and of each placed VM the
preferred terms that name this one, and with a weight of 1 its required affinity.
"""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.plugins import Score, greatest, least
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def rate(snapshot: Snapshot, request: Request, feasible: BoolArray) -> FloatArray | None:
    """The sum, from the least to the most among feasible nodes."""
    populations = snapshot.populations
    parts = [
        (each.weight, each.term.topology_key, populations.tally(each.term.group)) for each in request.member.preferred
    ]
    parts += [(1, term.topology_key, held) for term, held in populations.attracting.naming(request.member)]
    if not parts:
        return None
    raw = np.zeros(snapshot.rows, dtype=np.float64)
    for weight, key, tally in parts:
        if tally:
            column = snapshot.label(key)
            raw += (weight * tally.per_domain(column))[column.codes]
    low, high = least(raw, feasible), greatest(raw, feasible)
    return (raw - low) / (high - low) if high > low else None


SCORE = Score("VMAffinity", rate, weight=2.0)
