"""Taints of the Node that the VM does not tolerate.

Source: Kubernetes "Taints and Tolerations". Two differences: taints with which Kubernetes reports the *kubelet's* or
the Pod network's state say nothing about VMs, whose agent has a heartbeat of its own and whose networks are CNI
chains of their own; and a cordon counts as closed (see `schedulable`), not as a taint.
"""

import numpy as np

from berth_api.selectors import Toleration
from berth_operator.scheduling.nodes import BoolArray, NodeFacts, Taint
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot

KUBELET_TAINTS = frozenset(
    f"node.kubernetes.io/{condition}"
    for condition in ("not-ready", "unreachable", "network-unavailable", "unschedulable")
)


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.operator == "Exists":
        return toleration.key in ("", taint.key)
    return toleration.key == taint.key and toleration.value == taint.value


def _untolerated(request: Request, node: NodeFacts) -> list[Taint]:
    return [
        taint
        for taint in node.taints
        if taint.effect in ("NoSchedule", "NoExecute")
        and taint.key not in KUBELET_TAINTS
        and not any(_tolerates(toleration, taint) for toleration in request.tolerations)
    ]


def keep(snapshot: Snapshot, request: Request) -> BoolArray:
    """Nodes without a taint that the VM does not tolerate."""
    return np.array([not _untolerated(request, node) for node in snapshot.nodes.facts], dtype=np.bool_)


def detail(snapshot: Snapshot, request: Request, rejected: BoolArray) -> str:
    """The taints in question."""
    taints = {
        str(taint)
        for row in np.flatnonzero(rejected)
        for taint in _untolerated(request, snapshot.nodes.facts[int(row)])
    }
    return ", ".join(sorted(taints))


FILTER = Filter(
    "Tolerated", keep, "has a taint that the VM does not tolerate", "have taints that the VM does not tolerate", detail
)
