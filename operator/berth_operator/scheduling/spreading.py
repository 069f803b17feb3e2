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
    rows = keyed(snapshot, constraints)
    chosen = selected(snapshot, request.requirements)
    return rows if chosen is None else rows & chosen


def domain_counts(snapshot: Snapshot, constraint: Spread, eligible: BoolArray) -> tuple[IntArray, BoolArray]:
    """Per code of the key's column: VMs of the group on eligible nodes (int64), and whether there is such a node."""
    column = snapshot.label(constraint.topology_key)
    codes = column.codes[eligible]
    members = snapshot.populations.tally(constraint.group).per_row(snapshot.rows)[eligible]
    counts = np.bincount(codes, weights=members, minlength=column.width).astype(np.int64)
    present = np.bincount(codes, minlength=column.width) > 0
    return counts, present
