"""A set of items in the order of their ranks, in which items may move: the heap below queue, timers and lines.

`heapq` can neither remove an item nor change its rank. Here both leave a stale slot behind, which is skipped when it
comes to the top; when stale slots are the greater part, the heap is built anew. So each operation takes O(log n),
amortised, and memory stays proportional to what is in it.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R", bound=Any)

_SLACK = 64
"""Stale slots that are never worth building a heap anew."""


class Ranked(Generic[T, R]):
    """Items by rank, lowest first, equal ranks in the order in which they were set. Items are hashed, not compared."""

    def __init__(self) -> None:
        self._slots: dict[T, tuple[R, int, T]] = {}
        self._heap: list[tuple[R, int, T]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, item: T) -> bool:
        return item in self._slots

    def __iter__(self) -> Iterator[T]:
        """All items, in no order of rank."""
        return iter(self._slots)

    def set(self, item: T, rank: R) -> None:
        """Put the item in, or move it, to this rank."""
        held = self._slots.get(item)
        if held is not None and held[0] == rank:
            return
        slot = (rank, next(self._numbers), item)
        self._slots[item] = slot
        heappush(self._heap, slot)
        self._tidy()

    def discard(self, item: T) -> None:
        """Take the item out, if it is in."""
        if self._slots.pop(item, None) is not None:
            self._tidy()

    def pop(self, item: T) -> R:
        """Take out an item that is in; its rank."""
        rank = self._slots.pop(item)[0]
        self._tidy()
        return rank

    def drain(self) -> Iterator[tuple[T, R]]:
        """Take out all items with their ranks, in no order."""
        slots, self._slots, self._heap = self._slots, {}, []
        for rank, _number, item in slots.values():
            yield item, rank

    def first(self) -> T | None:
        """The item of the lowest rank."""
        slot = self._top()
        return None if slot is None else slot[2]

    def first_rank(self) -> R | None:
        """The lowest rank."""
        slot = self._top()
        return None if slot is None else slot[0]

    def due(self, rank: R) -> Iterator[T]:
        """Take out the items up to and with this rank, lowest first."""
        while (slot := self._top()) is not None and not rank < slot[0]:
            self.discard(slot[2])
            yield slot[2]

    def _top(self) -> tuple[R, int, T] | None:
        while self._heap:
            slot = self._heap[0]
            if self._slots.get(slot[2]) is slot:
                return slot
            heappop(self._heap)
        return None

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._slots) + _SLACK:
            self._heap = list(self._slots.values())
            heapify(self._heap)
