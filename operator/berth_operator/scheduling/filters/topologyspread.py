"""Nodes in which the VM would not make its group more uneven than topologySpreadConstraints allow (DoNotSchedule).

Source: kube-scheduler's PodTopologySpread, with nodeAffinityPolicy Honor and nodeTaintsPolicy Ignore, its defaults.
"""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import NEIGHBOURS, Filter, some
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot
from berth_operator.scheduling.spreading import counted, domain_counts, domains, keyed


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes that have every key and where each skew stays within its bound."""
    if not request.spread:
        return None
    eligible = counted(snapshot, request, request.spread)
    rows = keyed(snapshot, request.spread).copy()
    for constraint in request.spread:
        column = snapshot.label(constraint.topology_key)
        counts = domain_counts(snapshot, constraint, eligible)
        present = domains(snapshot, request, constraint, request.spread)
        fewest = int(counts[present].min()) if len(present) >= constraint.min_domains else 0
        itself = constraint.group.includes(request.member, snapshot.populations.namespaces)
        rows &= (counts <= constraint.max_skew + fewest - int(itself)).take(column.codes)
    return rows


def detail(_snapshot: Snapshot, request: Request, _rejected: BoolArray) -> str:
    """The keys in question."""
    return some([f"{each.topology_key}, maxSkew {each.max_skew}" for each in request.spread])


FILTER = Filter(
    "TopologySpread",
    keep,
    "would make topologySpreadConstraints uneven",
    "would make topologySpreadConstraints uneven",
    detail,
    cured_by=NEIGHBOURS,
    optional=True,
)
