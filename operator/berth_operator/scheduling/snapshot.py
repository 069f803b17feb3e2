"""What a decision sees: the nodes, what is held on them, and which of them are alive, at one moment.

It is kept up in place, row by row, between decisions, and never rebuilt for one: a decision only reads. Single-threaded
by design: what happens between two awaits is one moment. A node keeps its row while it exists; a row whose node went is
given to the next that comes, so nothing but `order` (the rank by name, for ties) ever moves.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from berth_operator.scheduling.columns import Encoded
from berth_operator.scheduling.fits import Excerpt, Fit, Journal
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.labels import LabelColumns
from berth_operator.scheduling.nodes import BoolArray, FloatArray, HeldImage, IntArray, NodeFacts, Taint
from berth_operator.scheduling.pools import NO_POOL, Pool
from berth_operator.scheduling.populations import Populations
from berth_operator.scheduling.requests import Claimant, Request

_MOST_ANSWERS, _MOST_FITS = 256, 64
_UNKNOWN = object()
T = TypeVar("T")


@dataclass(frozen=True)
class Reservation:
    """Room on a node that is kept for a VM that waits for it. Bytes and millicores."""

    claimant: Claimant
    cpu: int
    memory: int
    pools: Mapping[str, int] = field(default_factory=dict)


class Snapshot:
    """All nodes in columns. Amounts are int64, in millicores and bytes; every array has a row per node."""

    def __init__(self, shared_pools: Iterable[str] = ()) -> None:
        self.facts: list[NodeFacts | None] = []
        self.index: dict[str, int] = {}
        self.populations = Populations()
        self.pools: dict[str, Pool] = {}
        self.shared_pools = frozenset(shared_pools)
        self.reservations: dict[str, Reservation] = {}
        """By node."""
        self.changes = 0
        """Grows with each change of anything: an answer given at the same count is still right."""
        self._held: dict[str, dict[Hashable, Holding]] = {}
        self._free_rows: list[int] = []
        self._numbers: dict[str, np.ndarray[Any, Any]] = {}
        self._labels = LabelColumns(self.facts)
        self._memo: dict[Hashable, Any] = {}
        self._fits: dict[Hashable, Fit] = {}
        self._journal = Journal()
        self._order: IntArray | None = None
        self._in_order = False
        self.troubled = 0
        """Nodes with failures, and nodes with migrations: mostly none."""
        self.taints: Encoded[tuple[Taint, ...]] = Encoded()
        self.cpu_models: Encoded[frozenset[str]] = Encoded()
        self.cpu_features: Encoded[frozenset[str]] = Encoded()
        self.machine_types: Encoded[frozenset[str]] = Encoded()
        self.firmware: Encoded[frozenset[str]] = Encoded()
        self.failing_networks: Encoded[frozenset[str]] = Encoded()
        self.images: Encoded[frozenset[HeldImage]] = Encoded()
        self._slice()

    def _slice(self) -> None:
        """Give every number column the length of today's rows."""
        size = len(self.facts)
        self.live: BoolArray = self._column("live", size, np.bool_)
        self.ready: BoolArray = self._column("ready", size, np.bool_)
        self.schedulable: BoolArray = self._column("schedulable", size, np.bool_)
        self.libvirt: BoolArray = self._column("libvirt", size, np.bool_)
        self.reported: BoolArray = self._column("reported", size, np.bool_)
        self.accelerated: BoolArray = self._column("accelerated", size, np.bool_)
        self.sealable: BoolArray = self._column("sealable", size, np.bool_)
        self.cpu: IntArray = self._column("cpu", size, np.int64)
        self.memory: IntArray = self._column("memory", size, np.int64)
        self.slots: IntArray = self._column("slots", size, np.int64)
        self.free_cpu: IntArray = self._column("free_cpu", size, np.int64)
        self.free_memory: IntArray = self._column("free_memory", size, np.int64)
        self.free_slots: IntArray = self._column("free_slots", size, np.int64)
        self.failures: IntArray = self._column("failures", size, np.int64)
        self.migrations: IntArray = self._column("migrations", size, np.int64)

    def _column(self, name: str, size: int, dtype: Any) -> Any:
        backing = self._numbers.get(name)
        if backing is None or len(backing) < size:
            larger = np.zeros(max(64, 2 * size), dtype=dtype)
            if backing is not None:
                larger[: len(backing)] = backing
            backing = self._numbers[name] = larger
        return backing[:size]

    def __len__(self) -> int:
        """Nodes; there may be more rows."""
        return len(self.index)

    @property
    def rows(self) -> int:
        """Length of every column."""
        return len(self.facts)

    @property
    def names(self) -> list[str]:
        """Names of all nodes, sorted."""
        return sorted(self.index)

    @property
    def holders(self) -> list[str]:
        """Names on which something is held, whether they are nodes or not."""
        return list(self._held)

    def held_on(self, name: str) -> Iterable[Holding]:
        """Every claim that counts on a node."""
        return self._held.get(name, {}).values()

    @property
    def order(self) -> IntArray:
        """int64 per row: the rank of its node by name."""
        if self._order is None:
            self._order = np.zeros(self.rows, dtype=np.int64)
            rows = [self.index[name] for name in self.names]
            self._order[rows] = np.arange(len(rows))
            self._in_order = rows == sorted(rows)
        return self._order

    def best(self, score: FloatArray) -> int:
        """The row with the highest score; of equals the one whose node's name is first."""
        row, order = int(score.argmax()), self.order
        if self._in_order:
            return row
        rows = np.flatnonzero(score == score[row])
        return int(rows[order[rows].argmin()])

    def name(self, row: int) -> str:
        """The node of a row."""
        facts = self.facts[row]
        return facts.name if facts is not None else ""

    def mask(self, names: Iterable[str]) -> BoolArray:
        """True in the rows of these nodes; names that are no node are left out."""
        rows = np.zeros(self.rows, dtype=np.bool_)
        rows[[self.index[name] for name in names if name in self.index]] = True
        return rows

    def label(self, key: str) -> Encoded[str]:
        """The column of a label of the nodes."""
        return self._labels.column(key)

    def remember(self, question: Hashable, answer: Callable[[], T]) -> T:
        """The answer to a question about what the nodes *are*; asked anew only after that has changed."""
        found = self._memo.get(question, _UNKNOWN)
        if found is _UNKNOWN:
            found = self._memo[question] = answer()
            if len(self._memo) > _MOST_ANSWERS:
                del self._memo[next(iter(self._memo))]
        return found  # type: ignore[no-any-return]

    def memory_wanted(self, request: Request) -> IntArray:
        """Bytes that a request takes on each node: the guest's, and QEMU's overhead under the node's accelerator."""
        kvm, tcg = request.memory_kvm, request.memory_tcg
        return self.remember(
            ("memory", kvm, tcg), lambda: np.where(self.accelerated, kvm, tcg).astype(np.int64, copy=False)
        )

    def shares_left(self, request: Request) -> tuple[FloatArray, FloatArray]:
        """Per node, which share of its CPU and of its memory is left after the request. float64; at most 1."""
        return self.excerpt(slice(None)).shares_left(request)

    def excerpt(self, rows: slice | IntArray) -> Excerpt:
        """The amounts of some rows."""
        return Excerpt(
            cpu=self.cpu[rows],
            memory=self.memory[rows],
            accelerated=self.accelerated[rows],
            free_cpu=self.free_cpu[rows],
            free_memory=self.free_memory[rows],
            free_slots=self.free_slots[rows],
        )

    def fit(self, size: Hashable, judge: Callable[[Excerpt], tuple[BoolArray, FloatArray]]) -> Fit:
        """What all rows say to a size, by a judge that is asked again only about rows that have changed."""
        known = self._fits.get(size)
        changed = self._journal.since(known.mark) if known is not None and len(known.fits) == self.rows else None
        if known is None or changed is None or 2 * len(changed) > self.rows:
            known = self._fits[size] = Fit(*judge(self.excerpt(slice(None))), self._journal.mark)
            if len(self._fits) > _MOST_FITS:
                del self._fits[next(iter(self._fits))]
        elif changed:
            rows = np.array(changed, dtype=np.intp)
            known.fits[rows], known.score[rows] = judge(self.excerpt(rows))
            known.mark = self._journal.mark
        return known

    def free_storage(self, pool: str) -> IntArray:
        """Bytes of the pool that may still be claimed, per node; NO_POOL where there is no such pool.

        A shared pool is one store: what is held through any node is held for all. Not to be written to.
        """
        column = self.pools.get(pool)
        if column is None:
            return np.full(self.rows, NO_POOL, dtype=np.int64)
        return column.free_of_shared() if pool in self.shared_pools else column.free

    def has_storage(self, pool: str, wanted: int) -> BoolArray:
        """Nodes with so many bytes of the pool left to claim."""
        column = self.pools.get(pool)
        if column is None:
            return np.zeros(self.rows, dtype=np.bool_)
        return column.has(wanted, shared=pool in self.shared_pools)

    def share_pools(self, names: Iterable[str]) -> None:
        """Which pools are one store for all nodes."""
        self.shared_pools = frozenset(names)
        self._changed()

    def upsert(self, facts: NodeFacts) -> None:
        """A node appeared or changed."""
        row = self.index.get(facts.name)
        before = self.facts[row] if row is not None else None
        if row is None:
            row = self._new_row(facts)
        self.facts[row] = facts
        self._set_amounts(row, facts)
        if before is None or _nature(before) != _nature(facts):
            self._set_nature(row, facts)
            self._labels.change(row, before.labels if before is not None else {}, facts.labels)
            self._memo.clear()
        if before is None:
            for key, holding in self._held.get(facts.name, {}).items():
                self._count(row, key, holding)
        self._changed()

    def remove(self, name: str) -> None:
        """A node is gone. What is held on it is counted again when it returns."""
        row = self.index.pop(name, None)
        if row is None:
            return
        for key in self._held.get(name, {}):
            self.populations.leave(key)
        before, self.facts[row] = self.facts[row], None
        self._labels.change(row, before.labels if before is not None else {}, {})
        self.troubled -= bool(self.failures[row]) + bool(self.migrations[row])
        gone = NodeFacts(name, slots=0)
        self._set_nature(row, gone)
        for column in self._numbers.values():
            column[row] = 0
        for pool in self.pools.values():
            pool.clear(row)
        self._journal.note(row)
        self._free_rows.append(row)
        self._order = None
        self._memo.clear()
        self._changed()

    def set_ready(self, name: str, *, ready: bool) -> None:
        """Whether the node's agent is alive."""
        row = self.index.get(name)
        if row is not None and bool(self.ready[row]) != ready:
            self.ready[row] = ready
            self._memo.clear()
            self._changed()

    def set_failures(self, name: str, count: int) -> None:
        """How many VMs the node refused, or failed to start, lately."""
        self._set_count(self.failures, name, count)

    def set_migrations(self, name: str, count: int) -> None:
        """How many VMs migrate from or to the node."""
        self._set_count(self.migrations, name, count)

    def reserve(self, reservations: Mapping[str, Reservation]) -> None:
        """Keep this room, per node, and no other."""
        if reservations != self.reservations:
            self.reservations = dict(reservations)
            self._changed()

    def name_space(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """A namespace has these labels, or (None) is gone. True if that changes who belongs to which group."""
        changed = self.populations.name_space(name, labels)
        if changed:
            self._changed()
        return changed

    def take(self, holding: Holding) -> None:
        """A claim counts from now on."""
        self._held.setdefault(holding.node, {})[holding.key] = holding
        for name, size in holding.pools.items():
            self._pool(name).held_in_all += 0 if holding.apart else size
        row = self.index.get(holding.node)
        if row is not None:
            self._count(row, holding.key, holding)
        self._changed()

    def give_back(self, holding: Holding) -> None:
        """A claim counts no longer."""
        held = self._held.get(holding.node, {})
        taken = held.pop(holding.key, None)
        if taken is None:
            return
        if not held:
            del self._held[holding.node]
        for name, size in taken.pools.items():
            self._pool(name).held_in_all -= 0 if taken.apart else size
        row = self.index.get(holding.node)
        if row is not None:
            self._add(row, taken, -1)
            self.populations.leave(holding.key)
        self._changed()

    @contextmanager
    def without(self, holdings: Collection[Holding]) -> Iterator[None]:
        """Decide as if these did not count. Not to be awaited in."""
        for holding in holdings:
            self.give_back(holding)
        try:
            yield
        finally:
            for holding in holdings:
                self.take(holding)

    def _changed(self) -> None:
        self.changes += 1

    def _count(self, row: int, key: Hashable, holding: Holding) -> None:
        self._add(row, holding, 1)
        self.populations.enter(key, holding.member, row)

    def _add(self, row: int, holding: Holding, sign: int) -> None:
        self.free_cpu[row] -= sign * holding.cpu
        self.free_memory[row] -= sign * holding.memory
        self.free_slots[row] -= 0 if holding.apart and not holding.cpu else sign
        for name, size in holding.pools.items():
            self._pool(name).hold(row, sign * size, apart=holding.apart)
        self._journal.note(row)

    def _set_count(self, column: IntArray, name: str, count: int) -> None:
        row = self.index.get(name)
        if row is not None and int(column[row]) != count:
            self.troubled += bool(count) - bool(column[row])
            column[row] = count
            self._changed()

    def _new_row(self, facts: NodeFacts) -> int:
        if self._free_rows:
            row = self._free_rows.pop()
        else:
            row = len(self.facts)
            self.facts.append(None)
            self._slice()
            for pool in self.pools.values():
                pool.add_row()
        self.index[facts.name] = row
        self.live[row] = True
        self._order = None
        return row

    def _set_amounts(self, row: int, facts: NodeFacts) -> None:
        """Capacity may change while claims are held: what is free moves by the difference."""
        amounts = facts.allocatable
        self.free_cpu[row] += amounts.cpu - self.cpu[row]
        self.free_memory[row] += amounts.memory - self.memory[row]
        self.free_slots[row] += facts.slots - self.slots[row]
        self.cpu[row], self.memory[row], self.slots[row] = amounts.cpu, amounts.memory, facts.slots
        for name in amounts.pools:
            self._pool(name)
        for name, pool in self.pools.items():
            pool.resize(row, amounts.pools.get(name, -1))
        self._journal.note(row)

    def _set_nature(self, row: int, facts: NodeFacts) -> None:
        self.schedulable[row] = facts.schedulable
        self.libvirt[row] = facts.libvirt
        self.reported[row] = bool(facts.accelerator)
        self.accelerated[row] = facts.accelerator == "kvm"
        self.sealable[row] = bool(facts.public_key)
        self.taints.set(row, facts.taints)
        self.cpu_models.set(row, facts.cpu_models)
        self.cpu_features.set(row, facts.cpu_features)
        self.machine_types.set(row, facts.machine_types)
        self.firmware.set(row, facts.firmware)
        self.failing_networks.set(row, frozenset(facts.failing_networks))
        self.images.set(row, facts.images)

    def _pool(self, name: str) -> Pool:
        pool = self.pools.get(name)
        if pool is None:
            pool = self.pools[name] = Pool(self.rows)
        return pool


def _nature(facts: NodeFacts) -> tuple[object, ...]:
    """What a node is, apart from how much of it there is."""
    return (
        facts.accelerator,
        facts.schedulable,
        facts.libvirt,
        facts.labels,
        facts.taints,
        facts.cpu_models,
        facts.cpu_features,
        facts.machine_types,
        facts.firmware,
        facts.failing_networks,
        facts.images,
        bool(facts.public_key),
    )
