"""Nodes as columns: what a decision compares is one numpy array per property, a row per node.

A `NodeFacts` says what is known of one node, apart from what VMs hold on it; `Nodes` turns many of them into columns.
Both are immutable: a node that changes gives new columns, and an old snapshot stays what it was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from berth_api.allocatable import NOTHING, Amounts, allocatable
from berth_api.hypervisors import Hypervisor
from berth_api.quantities import to_bytes, to_millis

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Taint:
    """A taint of a Node, as in core/v1."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True)
class NodeFacts:
    """What a decision may know of a node, apart from what is held on it."""

    name: str
    allocatable: Amounts = NOTHING
    accelerator: str = ""
    """`kvm` or `tcg`; empty: the node's agent has not reported yet."""
    schedulable: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    cpu_models: frozenset[str] = frozenset()
    """Empty: not reported, any model is tried."""
    failing_networks: Mapping[str, str] = field(default_factory=dict)
    """Networks that the node's agent says it cannot provide, and why."""
    public_key: str = ""


def allocatable_of(hypervisor: Hypervisor) -> Amounts:
    """What VMs may claim of the node by what it has reported; nothing before its first report."""
    status = hypervisor.status
    if status.capacity is None:
        return NOTHING
    pods = status.pod_requests
    return allocatable(
        Amounts(
            cpu=to_millis(status.capacity.cpu),
            memory=to_bytes(status.capacity.memory),
            pools={pool.name: to_bytes(pool.capacity) for pool in status.storage_pools if pool.ready},
        ),
        hypervisor.spec,
        Amounts(cpu=to_millis(pods.cpu), memory=to_bytes(pods.memory)) if pods is not None else NOTHING,
    )


@dataclass(frozen=True, eq=False)
class Nodes:
    """All nodes, a column per property, rows sorted by name. Amounts are int64: millicores and bytes."""

    facts: tuple[NodeFacts, ...]
    index: Mapping[str, int]
    cpu: IntArray
    memory: IntArray
    pools: Mapping[str, IntArray]
    """Per pool; -1 where the node has not got it."""
    shared_pools: frozenset[str]
    schedulable: BoolArray
    accelerated: BoolArray
    """True under kvm, False under tcg."""
    reported: BoolArray

    @classmethod
    def of(cls, facts: Iterable[NodeFacts], shared_pools: Iterable[str] = ()) -> "Nodes":
        """Columns of these nodes."""
        rows = tuple(sorted(facts, key=lambda row: row.name))
        names = sorted({pool for row in rows for pool in row.allocatable.pools})
        return cls(
            facts=rows,
            index={row.name: position for position, row in enumerate(rows)},
            cpu=np.array([row.allocatable.cpu for row in rows], dtype=np.int64),
            memory=np.array([row.allocatable.memory for row in rows], dtype=np.int64),
            pools={
                pool: np.array([row.allocatable.pools.get(pool, -1) for row in rows], dtype=np.int64) for pool in names
            },
            shared_pools=frozenset(shared_pools),
            schedulable=np.array([row.schedulable for row in rows], dtype=np.bool_),
            accelerated=np.array([row.accelerator == "kvm" for row in rows], dtype=np.bool_),
            reported=np.array([bool(row.accelerator) for row in rows], dtype=np.bool_),
        )

    def __len__(self) -> int:
        return len(self.facts)

    def mask(self, names: Iterable[str]) -> BoolArray:
        """True in the rows of these nodes; names that are no node are left out."""
        rows = np.zeros(len(self), dtype=np.bool_)
        rows[[self.index[name] for name in names if name in self.index]] = True
        return rows
