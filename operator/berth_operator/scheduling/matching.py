"""Which nodes match a node selector, and which taints a VM does not tolerate: asked by filters and by scores.

Source: Kubernetes "Assigning Pods to Nodes", "Taints and Tolerations". Taints with which Kubernetes reports the
*kubelet's* or the Pod network's state say nothing about VMs, whose agent has a heartbeat of its own and whose networks
are CNI chains of their own; and a cordon counts as closed, not as a taint.
"""

from collections.abc import Callable, Iterable

import numpy as np

from berth_operator.scheduling.nodes import BoolArray, Taint
from berth_operator.scheduling.requests import Requirements, Tolerance
from berth_operator.scheduling.selectors import NodeTerm, Requirement
from berth_operator.scheduling.snapshot import Snapshot

KUBELET_TAINTS = frozenset(
    f"node.kubernetes.io/{condition}"
    for condition in ("not-ready", "unreachable", "network-unavailable", "unschedulable")
)
FORBIDDING = frozenset({"NoSchedule", "NoExecute"})


def selected(snapshot: Snapshot, requirements: Requirements) -> BoolArray | None:
    """Rows whose nodes match nodeSelector and required nodeAffinity; None: all."""
    rows: BoolArray | None = None
    for key, value in requirements.node_selector:
        having = snapshot.label(key).where_any((value,))
        rows = having if rows is None else rows & having
    if requirements.node_affinity is not None:
        matching = np.zeros(snapshot.rows, dtype=np.bool_)
        for term in requirements.node_affinity:
            matching |= matching_term(snapshot, term)
        rows = matching if rows is None else rows & matching
    return rows


def matching_term(snapshot: Snapshot, term: NodeTerm) -> BoolArray:
    """Rows whose nodes match a term."""
    if not term.labels and not term.fields:
        return np.zeros(snapshot.rows, dtype=np.bool_)
    rows = np.ones(snapshot.rows, dtype=np.bool_)
    for requirement in term.labels:
        rows &= _labelled(snapshot, requirement)
    for requirement in term.fields:
        rows &= _of_field(snapshot, requirement)
    return rows


def _labelled(snapshot: Snapshot, requirement: Requirement) -> BoolArray:
    column = snapshot.label(requirement.key)
    match requirement.operator:
        case "In":
            return column.where_any(requirement.values)
        case "Exists":
            return column.present()
        case _:
            return column.where(requirement.holds)


def _of_field(snapshot: Snapshot, requirement: Requirement) -> BoolArray:
    if requirement.key != "metadata.name":
        return np.full(snapshot.rows, requirement.holds(None), dtype=np.bool_)
    if requirement.operator == "In":
        return snapshot.mask(requirement.values)
    names: Iterable[bool] = (requirement.holds(snapshot.name(row)) for row in range(snapshot.rows))
    return np.fromiter(names, dtype=np.bool_, count=snapshot.rows)


def tolerates(tolerance: Tolerance, taint: Taint) -> bool:
    """Whether a toleration covers a taint."""
    if tolerance.effect and tolerance.effect != taint.effect:
        return False
    if tolerance.operator == "Exists":
        return tolerance.key in ("", taint.key)
    return tolerance.key == taint.key and tolerance.value == taint.value


def untolerated(tolerations: tuple[Tolerance, ...], effects: frozenset[str]) -> Callable[..., list[Taint]]:
    """A function from a node's taints to those of these effects that none of the tolerations covers."""

    def left(taints: tuple[Taint, ...] | None) -> list[Taint]:
        return [
            taint
            for taint in taints or ()
            if taint.effect in effects
            and taint.key not in KUBELET_TAINTS
            and not any(tolerates(tolerance, taint) for tolerance in tolerations)
        ]

    return left
