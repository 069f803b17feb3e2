"""The decision: filters leave the feasible nodes, scores choose among them, the first name wins a tie."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.fits import Excerpt, Fit
from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.plugins import Score
from berth_operator.scheduling.profiles import DEFAULT_PROFILE, Profile
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


@dataclass(frozen=True)
class Placement:
    """The node that takes the VM, and what it takes there: bytes of memory with the overhead of its accelerator."""

    node: str
    memory: int
    score: float


@dataclass(frozen=True)
class Rejection:
    """No node takes the VM."""

    message: str
    """Why, in a sentence."""
    by_filter: Mapping[str, int] = field(default_factory=dict)
    """How many nodes each filter turned down; a node counts for the first that did."""
    cured_by: frozenset[Cure] = frozenset({Cure.NODE_CHANGED})
    """Events after which it may be otherwise."""
    room: bool = False
    """Some node would do, had it more room."""


@dataclass(frozen=True, eq=False)
class Examination:
    """A decision taken apart. Masks and rates have a value per row."""

    masks: Mapping[str, BoolArray]
    """By filter: True where it lets the node pass."""
    rates: Mapping[str, FloatArray]
    """By score, 0 to 1; 0 for all where it tells no nodes apart."""
    feasible: BoolArray
    total: FloatArray


def place(snapshot: Snapshot, request: Request, profile: Profile = DEFAULT_PROFILE) -> Placement | Rejection:
    """Choose the node for a request. Pure: the same snapshot and request give the same answer."""
    fit = _fit(snapshot, request, profile)
    feasible = _feasible(snapshot, request, profile, fit)
    if not feasible.any():
        return _reject(snapshot, request, profile)
    total = fit.score.copy()
    _add(total, profile.following, snapshot, request, feasible)
    np.putmask(total, ~feasible, -np.inf)
    row = snapshot.best(total)
    return Placement(
        node=snapshot.name(row),
        memory=request.memory_kvm if snapshot.accelerated[row] else request.memory_tcg,
        score=float(total[row]),
    )


def examine(snapshot: Snapshot, request: Request, profile: Profile = DEFAULT_PROFILE) -> Examination:
    """Every filter's and every score's answer for every node, and what follows from them."""
    everything = np.ones(snapshot.rows, dtype=np.bool_)
    masks = {
        each.name: everything if (kept := each.keep(snapshot, request)) is None else kept for each in profile.filters
    }
    feasible = snapshot.live.copy()
    for mask in masks.values():
        feasible &= mask
    nothing = np.zeros(snapshot.rows, dtype=np.float64)
    rates = {score.name: nothing for _, score in profile.scores}
    total = nothing.copy()
    if feasible.any():
        found = {score.name: score.rate(snapshot, request, feasible) for _, score in profile.scores}
        rates |= {name: rate for name, rate in found.items() if rate is not None}
        _add(total, profile.scores, snapshot, request, feasible)
    return Examination(masks, rates, feasible, total)


def _fit(snapshot: Snapshot, request: Request, profile: Profile) -> Fit:
    """What all rows say to the request's size; brought up to date, not made anew."""

    def judge(excerpt: Excerpt) -> tuple[BoolArray, FloatArray]:
        rows = cast("Snapshot", excerpt)  # rowwise filters and scores ask for `Rows`, which it is
        fits = np.ones(len(excerpt.cpu), dtype=np.bool_)
        for each in profile.rowwise:
            kept = each.keep(rows, request)
            if kept is not None:
                fits &= kept
        score = np.zeros(len(fits), dtype=np.float64)
        _add(score, profile.leading, rows, request, fits)
        return fits, score

    return snapshot.fit((profile, request.cpu, request.memory_kvm, request.memory_tcg), judge)


def _feasible(snapshot: Snapshot, request: Request, profile: Profile, fit: Fit) -> BoolArray:
    lasting = snapshot.remember(
        ("feasible", profile, request.requirements), lambda: _lasting(snapshot, request, profile)
    )
    feasible = lasting & fit.fits
    for each in profile.passing:
        kept = each.keep(snapshot, request)
        if kept is not None:
            feasible &= kept
    return feasible


def _lasting(snapshot: Snapshot, request: Request, profile: Profile) -> BoolArray:
    rows = snapshot.live.copy()
    for each in profile.lasting:
        kept = each.keep(snapshot, request)
        if kept is not None:
            rows &= kept
    return rows


def _add(
    total: FloatArray,
    scores: Iterable[tuple[float, Score]],
    snapshot: Snapshot,
    request: Request,
    feasible: BoolArray,
) -> None:
    for weight, score in scores:
        rate = score.rate(snapshot, request, feasible)
        if rate is not None:
            total += rate if weight == 1 else weight * rate


def _reject(snapshot: Snapshot, request: Request, profile: Profile) -> Rejection:
    nodes = len(snapshot)
    if nodes == 0:
        return Rejection("0/0 nodes: there is no Hypervisor; run a node agent on at least one node")
    unexplained = snapshot.live.copy()
    parts: list[tuple[int, str]] = []
    by_filter: dict[str, int] = {}
    cured_by: frozenset[Cure] = frozenset()
    room = False
    for each in profile.filters:
        mask = each.keep(snapshot, request)
        rejected = unexplained & ~mask if mask is not None else None
        count = int(rejected.sum()) if rejected is not None else 0
        if rejected is None or mask is None or not count:
            continue
        unexplained &= mask
        by_filter[each.name] = count
        cured_by |= each.cured_by
        room = room or each.room
        detail = each.detail(snapshot, request, rejected)
        reason = each.one if count == 1 else each.many
        parts.append((count, f"{count} {reason} ({detail})" if detail else f"{count} {reason}"))
    parts.sort(key=lambda part: -part[0])
    return Rejection(f"0/{nodes} nodes: " + ", ".join(text for _, text in parts), by_filter, cured_by, room)
