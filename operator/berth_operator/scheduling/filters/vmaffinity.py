"""Nodes beside which the VMs are that this one must be near: required vmAffinity.

Source: kube-scheduler's InterPodAffinity. A placed VM counts when it belongs to the groups of all terms; a node must
have the key of each. The first VM of a group that wants to be near its own kind may go anywhere where the keys are.
"""

import numpy as np

from berth_operator.scheduling.groups import Intersection
from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import NEIGHBOURS, Filter, some
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes in a domain of each term where such a VM is."""
    terms = request.member.affinity
    if not terms:
        return None
    wanted = Intersection(tuple(term.group for term in terms))
    tally = snapshot.populations.tally(wanted if len(terms) > 1 else wanted.groups[0])
    rows = np.ones(snapshot.rows, dtype=np.bool_)
    alone = True
    for term in terms:
        column = snapshot.label(term.topology_key)
        domains = tally.domains(column)
        alone = alone and not len(domains)
        rows &= column.among(domains)
    if alone and wanted.includes(request.member, snapshot.populations.namespaces):
        rows = np.ones(snapshot.rows, dtype=np.bool_)
        for term in terms:
            rows &= snapshot.label(term.topology_key).present()
    return rows


def detail(_snapshot: Snapshot, request: Request, _rejected: BoolArray) -> str:
    """The groups in question."""
    return some([f"{term.group} by {term.topology_key}" for term in request.member.affinity])


FILTER = Filter(
    "VMAffinity",
    keep,
    "is not near the VMs of vmAffinity",
    "are not near the VMs of vmAffinity",
    detail,
    cured_by=NEIGHBOURS,
    optional=True,
)
