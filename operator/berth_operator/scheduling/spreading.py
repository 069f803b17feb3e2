"""How the VMs of a spread constraint's group are distributed: asked by the filter and by the score.

Source: kube-scheduler's PodTopologySpread: only nodes that the VM's nodeSelector and nodeAffinity allow, and that have
the keys of all its constraints of that sort, count. A node that only the selector turns down is not uneven for that.
"""

from collections.abc import Iterable

import numpy as np

from berth_operator.scheduling.columns import ABSENT
from berth_operator.scheduling.groups import Spread
from berth_operator.scheduling.matching import selected
from berth_operator.scheduling.nodes import BoolArray, IntArray
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keyed(snapshot: Snapshot, constraints: Iterable[Spread]) -> BoolArray:
    """Rows of the nodes that have the keys of all constraints. Not to be written to."""
    keys = frozenset(constraint.topology_key for constraint in constraints)
    return snapshot.remember(("keyed", keys), lambda: _keyed(snapshot, keys))


def _keyed(snapshot: Snapshot, keys: Iterable[str]) -> BoolArray:
    rows = snapshot.live.copy()
    for key in keys:
        rows &= snapshot.label(key).codes != ABSENT
    return rows


def counted(snapshot: Snapshot, request: Request, constraints: Iterable[Spread]) -> BoolArray:
    """Rows of the nodes whose VMs count. Not to be written to."""
    keys = frozenset(constraint.topology_key for constraint in constraints)
    return snapshot.remember(
        ("counted", keys, request.requirements), lambda: _counted(snapshot, request, keyed(snapshot, constraints))
    )


def _counted(snapshot: Snapshot, request: Request, rows: BoolArray) -> BoolArray:
    chosen = selected(snapshot, request.requirements)
    return rows if chosen is None else rows & chosen


def domain_counts(snapshot: Snapshot, constraint: Spread, eligible: BoolArray) -> IntArray:
    """Per code of the key's column: VMs of the group on eligible nodes. int64."""
    tally = snapshot.populations.tally(constraint.group)
    return tally.per_domain(snapshot.label(constraint.topology_key), eligible)


def domains(snapshot: Snapshot, request: Request, constraint: Spread, constraints: Iterable[Spread]) -> IntArray:
    """Codes of the key's column that an eligible node has. Not to be written to."""
    keys = frozenset(each.topology_key for each in constraints)
    return snapshot.remember(
        ("domains", constraint.topology_key, keys, request.requirements),
        lambda: np.unique(snapshot.label(constraint.topology_key).codes[counted(snapshot, request, constraints)]),
    )
