"""The decision: filters leave the feasible nodes, scores choose among them, the first name wins a tie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from berth_operator.scheduling.filters import FILTERS
from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter, Score, memory_wanted
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.scores import SCORES
from berth_operator.scheduling.snapshot import Snapshot


@dataclass(frozen=True)
class Placement:
    """The node that takes the VM, and what it takes there: bytes of memory with the overhead of its accelerator."""

    node: str
    memory: int
    score: float


@dataclass(frozen=True)
class Rejection:
    """No node takes the VM: why, in a sentence, and per node the name of the filter that turned it down."""

    message: str
    by_node: Mapping[str, str] = field(default_factory=dict)


def place(
    snapshot: Snapshot, request: Request, filters: Sequence[Filter] = FILTERS, scores: Sequence[Score] = SCORES
) -> Placement | Rejection:
    """Choose the node for a request. Pure: the same snapshot and request give the same answer."""
    masks = [plugin.keep(snapshot, request) for plugin in filters]
    feasible = np.ones(len(snapshot.nodes), dtype=np.bool_)
    for mask in masks:
        feasible &= mask
    if not feasible.any():
        return _reject(snapshot, request, filters, masks)
    total = np.zeros(len(snapshot.nodes), dtype=np.float64)
    for score in scores:
        total += score.weight * score.rate(snapshot, request)
    row = int(np.where(feasible, total, -np.inf).argmax())
    return Placement(
        node=snapshot.nodes.facts[row].name,
        memory=int(memory_wanted(snapshot, request)[row]),
        score=float(total[row]),
    )


def _reject(snapshot: Snapshot, request: Request, filters: Sequence[Filter], masks: Sequence[BoolArray]) -> Rejection:
    rows = len(snapshot.nodes)
    if rows == 0:
        return Rejection("0/0 nodes: there is no Hypervisor; run a node agent on at least one node")
    unexplained = np.ones(rows, dtype=np.bool_)
    parts: list[tuple[int, str]] = []
    by_node: dict[str, str] = {}
    for plugin, mask in zip(filters, masks, strict=True):
        rejected = unexplained & ~mask
        count = int(rejected.sum())
        if not count:
            continue
        unexplained &= mask
        by_node |= {snapshot.nodes.facts[int(row)].name: plugin.name for row in np.flatnonzero(rejected)}
        detail = plugin.detail(snapshot, request, rejected)
        reason = plugin.one if count == 1 else plugin.many
        parts.append((count, f"{count} {reason} ({detail})" if detail else f"{count} {reason}"))
    parts.sort(key=lambda part: -part[0])
    return Rejection(f"0/{rows} nodes: " + ", ".join(text for _, text in parts), by_node)
