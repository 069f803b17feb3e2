"""The shape of a filter and of a score. Each lives in a file of its own; adding one touches only the list of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from berth_api.quantities import from_bytes
from berth_operator.scheduling.nodes import BoolArray, IntArray
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot

FloatArray = NDArray[np.float64]
_MIB = 1024 * 1024


def no_detail(_snapshot: Snapshot, _request: Request, _rejected: BoolArray) -> str:
    """There is nothing to add to the reason."""
    return ""


@dataclass(frozen=True)
class Filter:
    """Which nodes may take a request, and how to say why the others may not."""

    name: str
    keep: Callable[[Snapshot, Request], BoolArray]
    """True in the rows of the nodes that may."""
    one: str
    """Why not, of one node: `lacks memory`."""
    many: str
    """Why not, of several: `lack memory`."""
    detail: Callable[[Snapshot, Request, BoolArray], str] = no_detail
    """What to add for the rejected rows, for example by how much the closest falls short."""


@dataclass(frozen=True)
class Score:
    """How good a feasible node is, from 0 to 1, and how much that counts."""

    name: str
    rate: Callable[[Snapshot, Request], FloatArray]
    weight: float = 1.0


def memory_wanted(snapshot: Snapshot, request: Request) -> IntArray:
    """Bytes that the request takes on each node: the guest's, and QEMU's overhead under the node's accelerator."""
    return np.where(snapshot.nodes.accelerated, request.memory["kvm"], request.memory["tcg"]).astype(np.int64)


def closest(snapshot: Snapshot, rejected: BoolArray, short: IntArray, show: Callable[[int], str]) -> str:
    """Name the rejected node that falls short by least: `closest: node-1, short of 1.5Gi`."""
    lacking = np.where(rejected, short, np.iinfo(np.int64).max)
    row = int(lacking.argmin())
    return f"closest: {snapshot.nodes.facts[row].name}, short of {show(int(short[row]))}"


def rounded_bytes(amount: int) -> str:
    """Bytes for people: in GiB with one decimal from 1 GiB on, else in whole MiB, rounded up."""
    mebibytes = -(-amount // _MIB)
    if mebibytes < 1024:  # noqa: PLR2004 - MiB in a GiB
        return f"{mebibytes}Mi"
    tenths = -(-mebibytes * 10 // 1024)
    return f"{tenths // 10}.{tenths % 10}Gi" if tenths % 10 else from_bytes(tenths // 10 * 1024 * _MIB)
