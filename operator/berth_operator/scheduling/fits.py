"""What each node says to VMs of one size, kept and brought up to date only where something changed.

VMs come in few sizes, and between two decisions few nodes change: those that took a VM or gave one back. So whether a
size fits on a node, and how well, is computed for all nodes once, and after that for the rows that changed since.
Filters and scores of which this may be said are `rowwise`: their answer for a row follows from that row's amounts and
the request's, and they see the `Rows`, which may be all of a snapshot or a few.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from berth_operator.scheduling.nodes import BoolArray, FloatArray, IntArray
from berth_operator.scheduling.requests import Request

_MOST_CHANGES = 4096


class Rows(Protocol):
    """What a rowwise filter or score sees. Amounts are int64 per row: millicores, bytes, VMs."""

    @property
    def free_cpu(self) -> IntArray:
        """Millicores that may still be claimed."""

    @property
    def free_memory(self) -> IntArray:
        """Bytes that may still be claimed."""

    @property
    def free_slots(self) -> IntArray:
        """VMs that may still come."""

    def memory_wanted(self, request: Request) -> IntArray:
        """Bytes that a request takes on each node: the guest's, and QEMU's overhead under the node's accelerator."""

    def shares_left(self, request: Request) -> tuple[FloatArray, FloatArray]:
        """Per node, which share of its CPU and of its memory is left after the request. float64; at most 1."""


@dataclass
class Excerpt:
    """The amounts of some rows, for one request."""

    cpu: IntArray
    memory: IntArray
    accelerated: BoolArray
    free_cpu: IntArray
    free_memory: IntArray
    free_slots: IntArray
    _memory_wanted: IntArray | None = None
    _shares: tuple[FloatArray, FloatArray] | None = None

    def memory_wanted(self, request: Request) -> IntArray:
        """Bytes that the request takes on each of the nodes."""
        if self._memory_wanted is None:
            self._memory_wanted = np.where(self.accelerated, np.int64(request.memory_kvm), np.int64(request.memory_tcg))
        return self._memory_wanted

    def shares_left(self, request: Request) -> tuple[FloatArray, FloatArray]:
        """Which share of its CPU and of its memory each of the nodes has left after the request."""
        if self._shares is None:
            cpu = (self.free_cpu - request.cpu) / np.maximum(self.cpu, 1)
            memory = (self.free_memory - self.memory_wanted(request)) / np.maximum(self.memory, 1)
            self._shares = cpu, memory
        return self._shares


@dataclass
class Fit:
    """What all rows say to one size: whether it fits, and the weighed sum of the rowwise scores. Not to be changed."""

    fits: BoolArray
    score: FloatArray
    mark: int
    """How far the journal was when it was so."""


class Journal:
    """Which rows changed, in the order of their changes; the oldest changes are forgotten."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._forgotten = 0

    @property
    def mark(self) -> int:
        """How many changes there were ever."""
        return self._forgotten + len(self._rows)

    def note(self, row: int) -> None:
        """A row changed."""
        self._rows.append(row)
        if len(self._rows) > 2 * _MOST_CHANGES:
            del self._rows[:_MOST_CHANGES]
            self._forgotten += _MOST_CHANGES

    def since(self, mark: int) -> list[int] | None:
        """Rows that changed since a mark, some of them twice; None: nobody knows any longer."""
        return self._rows[mark - self._forgotten :] if mark >= self._forgotten else None
