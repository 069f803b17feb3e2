"""Nodes away from the VMs that this one must not be near, and from those that must not be near this one.

Source: kube-scheduler's InterPodAffinity: required anti-affinity is symmetric. A node without the term's key is in no
domain, and cannot violate it. A VM that is decided counts at once, so two that are created at the same moment cannot
both come into one domain.
"""

from collections.abc import Iterator

import numpy as np

from berth_operator.scheduling.columns import CodeArray
from berth_operator.scheduling.groups import Term
from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import NEIGHBOURS, Filter, some
from berth_operator.scheduling.populations import Tally
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes in no domain with such a VM."""
    domains: dict[str, list[CodeArray]] = {}
    for term, tally in _violable(snapshot, request):
        found = tally.domains(snapshot.label(term.topology_key))
        if len(found):
            domains.setdefault(term.topology_key, []).append(found)
    rows: BoolArray | None = None
    for key, codes in domains.items():
        near = snapshot.label(key).among(np.concatenate(codes))
        rows = near if rows is None else rows | near
    return None if rows is None else ~rows


def _violable(snapshot: Snapshot, request: Request) -> Iterator[tuple[Term, Tally]]:
    """Terms that a node could violate, and where the VMs are that would."""
    populations = snapshot.populations
    for term in request.member.anti_affinity:
        tally = populations.tally(term.group)
        if tally:
            yield term, tally
    yield from populations.repelling.naming(request.member)


def detail(snapshot: Snapshot, request: Request, rejected: BoolArray) -> str:
    """The groups in question."""
    own: list[str] = []
    others: list[str] = []
    repelled = dict(snapshot.populations.repelling.naming(request.member))
    for term, tally in _violable(snapshot, request):
        column = snapshot.label(term.topology_key)
        near = column.among(tally.domains(column))
        if not np.any(near & rejected):
            continue
        if term in request.member.anti_affinity:
            own.append(f"group {term.group}")
        elif term in repelled:
            others.append(f"VMs that keep away from {term.group}")
    return some([*own, *others])


FILTER = Filter(
    "VMAntiAffinity",
    keep,
    "already holds a VM that it must not be near",
    "already hold a VM that it must not be near",
    detail,
    cured_by=NEIGHBOURS,
    optional=True,
)
