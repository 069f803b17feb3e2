"""The shape of a filter and of a score. Each lives in a file of its own; adding one touches only the list of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from berth_api.quantities import from_bytes
from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.nodes import BoolArray, FloatArray, IntArray
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot

_MIB = 1024 * 1024
NODE_CHANGED = frozenset({Cure.NODE_CHANGED})
ROOM = frozenset({Cure.NODE_CHANGED, Cure.CLAIM_FREED})
NEIGHBOURS = frozenset(Cure)


def no_detail(_snapshot: Snapshot, _request: Request, _rejected: BoolArray) -> str:
    """There is nothing to add to the reason."""
    return ""


@dataclass(frozen=True)
class Filter:
    """Which nodes may take a request, and how to say why the others may not."""

    name: str
    keep: Callable[[Snapshot, Request], BoolArray | None]
    """True in the rows of the nodes that may; None: all may."""
    one: str
    """Why not, of one node: `lacks memory`."""
    many: str
    """Why not, of several: `lack memory`."""
    detail: Callable[[Snapshot, Request, BoolArray], str] = no_detail
    """What to add for the rejected rows, for example by how much the closest falls short."""
    cured_by: frozenset[Cure] = NODE_CHANGED
    """What may turn its rejection."""
    lasting: bool = False
    """It looks only at what nodes are and at `request.requirements`: its answer holds until a node changes."""
    rowwise: bool = False
    """It asks the `Rows` alone: its answer for a row holds until that row changes."""
    room: bool = False
    """It rejects for want of room, which comes back when others leave."""
    optional: bool = False
    """A profile may do without it. What keeps a node from being overfilled, or a VM from failing there, is not."""


@dataclass(frozen=True)
class Score:
    """How good a feasible node is."""

    name: str
    rate: Callable[[Snapshot, Request, BoolArray], FloatArray | None]
    """0 to 1 in the feasible rows, anything in the others; None: nothing tells the nodes apart."""
    weight: float = 1.0
    """In a profile that does not say otherwise."""
    rowwise: bool = False
    """It asks the `Rows` alone: its answer for a row holds until that row changes."""


def closest(snapshot: Snapshot, rejected: BoolArray, short: IntArray, show: Callable[[int], str]) -> str:
    """Name the rejected node that falls short by least: `closest: node-1, short of 1.5Gi`."""
    lacking = np.where(rejected, short, np.iinfo(np.int64).max)
    rows = np.flatnonzero(lacking == lacking.min())
    row = int(rows[snapshot.order[rows].argmin()])
    return f"closest: {snapshot.name(row)}, short of {show(int(short[row]))}"


def rounded_bytes(amount: int) -> str:
    """Bytes for people: in GiB with one decimal from 1 GiB on, else in whole MiB, rounded up."""
    mebibytes = -(-amount // _MIB)
    if mebibytes < 1024:  # noqa: PLR2004 - MiB in a GiB
        return f"{mebibytes}Mi"
    tenths = -(-mebibytes * 10 // 1024)
    return f"{tenths // 10}.{tenths % 10}Gi" if tenths % 10 else from_bytes(tenths // 10 * 1024 * _MIB)


def greatest(raw: FloatArray | IntArray, feasible: BoolArray) -> float:
    """The largest value in the feasible rows, of which there is at least one."""
    return float(raw[feasible].max())


def extremes(raw: FloatArray | IntArray, feasible: BoolArray) -> tuple[float, float]:
    """The smallest and the largest value in the feasible rows, of which there is at least one."""
    rated = raw[feasible]
    return float(rated.min()), float(rated.max())


def some(names: list[str], most: int = 3) -> str:
    """A few of many, for people."""
    shown = sorted(set(names))
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
