"""Sets of items in the order of their ranks, in which items may move: the heaps below queue, timers and lines.

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


class Turns(Generic[T, R]):
    """Items that each get a turn, by rank, whenever all are given one anew; each is open or taken, or not in."""

    def __init__(self) -> None:
        self.open: Ranked[T, R] = Ranked()
        self.taken: Ranked[T, R] = Ranked()

    def __contains__(self, item: T) -> bool:
        return item in self.open or item in self.taken

    def renew(self) -> None:
        """Give all a turn. Only the fewer are moved, to the more, and each turn taken pays for one such move."""
        if len(self.taken) > len(self.open):
            self.open, self.taken = self.taken, self.open
        for item, rank in self.taken.drain():
            self.open.set(item, rank)

    def take(self, item: T, rank: R) -> None:
        """The item has had its turn, or needs none; the rank is that for its next one."""
        self.open.discard(item)
        self.taken.set(item, rank)

    def give(self, item: T, rank: R) -> None:
        """Give the item a turn."""
        self.taken.discard(item)
        self.open.set(item, rank)

    def move(self, item: T, rank: R) -> None:
        """Change the rank of an item, if it is in."""
        for ranked in (self.open, self.taken):
            if item in ranked:
                ranked.set(item, rank)

    def discard(self, item: T) -> None:
        """Take the item out, if it is in."""
        self.open.discard(item)
        self.taken.discard(item)
