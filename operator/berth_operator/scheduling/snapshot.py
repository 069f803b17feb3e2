"""What one decision sees: the nodes, what is held on them, and which of them are alive, at one moment."""

from dataclasses import dataclass

import numpy as np

from berth_operator.scheduling.nodes import BoolArray, IntArray, Nodes


@dataclass(frozen=True, eq=False)
class Usage:
    """What claims hold, a row per node: millicores and bytes, int64."""

    cpu: IntArray
    memory: IntArray
    pools: dict[str, IntArray]

    @classmethod
    def none(cls, nodes: Nodes) -> "Usage":
        """Nothing is held."""
        rows = len(nodes)
        return cls(
            cpu=np.zeros(rows, dtype=np.int64),
            memory=np.zeros(rows, dtype=np.int64),
            pools={pool: np.zeros(rows, dtype=np.int64) for pool in nodes.pools},
        )


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Nodes, usage and liveness. Nobody writes to its arrays while a decision reads them."""

    nodes: Nodes
    usage: Usage
    ready: BoolArray
    """The agent's heartbeat is fresh."""

    @property
    def free_cpu(self) -> IntArray:
        """Millicores that may still be claimed, per node."""
        return self.nodes.cpu - self.usage.cpu

    @property
    def free_memory(self) -> IntArray:
        """Bytes that may still be claimed, per node."""
        return self.nodes.memory - self.usage.memory

    def free_storage(self, pool: str) -> IntArray:
        """Bytes of the pool that may still be claimed, per node; -1 where there is no such pool.

        A shared pool is one store: what is held through any node is held for all.
        """
        capacity = self.nodes.pools.get(pool)
        if capacity is None:
            return np.full(len(self.nodes), -1, dtype=np.int64)
        held = self.usage.pools[pool]
        if pool in self.nodes.shared_pools:
            held = np.full_like(held, held.sum())
        return np.where(capacity < 0, -1, capacity - held)
