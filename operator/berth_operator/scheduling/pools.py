"""Storage pools by node: what each node has of a pool, and what is still free of it."""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray, IntArray

NO_POOL = -(2**62)
"""What is free on a node that has not got the pool: less than on any that has."""


class Pool:
    """One pool. `capacity` (-1 where the node has not got it), `held`, `apart` and `free` are bytes per row.

    `apart` is the part of `held` that is no claim's: of a shared pool it counts on its row only, as a node says it and
    could say anything.
    """

    def __init__(self, rows: int) -> None:
        self.capacity: IntArray = np.full(rows, -1, dtype=np.int64)
        self.held: IntArray = np.zeros(rows, dtype=np.int64)
        self.apart: IntArray = np.zeros(rows, dtype=np.int64)
        self.free: IntArray = np.full(rows, NO_POOL, dtype=np.int64)
        self.held_in_all = 0
        """On any node, gone ones too: what counts where the pool is shared."""

    def add_row(self) -> None:
        """A node more, without the pool."""
        self.capacity = np.append(self.capacity, np.int64(-1))
        self.held = np.append(self.held, np.int64(0))
        self.apart = np.append(self.apart, np.int64(0))
        self.free = np.append(self.free, np.int64(NO_POOL))

    def resize(self, row: int, capacity: int) -> None:
        """The node has so many bytes of it; -1: it has none."""
        self.capacity[row] = capacity
        self._count(row)

    def hold(self, row: int, size: int, *, apart: bool = False) -> None:
        """So many more bytes are held on the node, by a claim or apart from all claims."""
        self.held[row] += size
        self.apart[row] += size if apart else 0
        self._count(row)

    def clear(self, row: int) -> None:
        """The node is gone."""
        self.capacity[row], self.held[row], self.apart[row], self.free[row] = -1, 0, 0, NO_POOL

    def _count(self, row: int) -> None:
        capacity = int(self.capacity[row])
        self.free[row] = capacity - self.held[row] if capacity >= 0 else NO_POOL

    def free_of_shared(self) -> IntArray:
        """Bytes that are free where the pool is one store for all nodes."""
        return np.where(self.capacity < 0, NO_POOL, self.capacity - self.apart - self.held_in_all)

    def has(self, wanted: int, *, shared: bool) -> BoolArray:
        """Nodes with so many bytes left."""
        if shared:
            return np.asarray(self.capacity - self.apart >= wanted + self.held_in_all)
        return np.asarray(self.free >= wanted)
