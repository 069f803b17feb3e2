"""Room for large VMs: who gets it, how long, and that neither large nor small ones starve."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.entries import Entry
from berth_operator.scheduling.lines import Verdict
from berth_operator.scheduling.queue import SchedulingQueue
from berth_operator.scheduling.reservations import Reservations


def entry(name: str, *, priority: int = 0, created: float = 0.0) -> Entry:
    return Entry(("default", name), f"uid-{name}", priority, created)


def waiting(*entries: Entry, now: float = 0.0) -> Reservations:
    reservations = Reservations()
    for one in entries:
        reservations.wait(one, now)
    return reservations


def reserve(reservations: Reservations, node: str, now: float, nodes: int = 1) -> str:
    """Reserve for who is due; its name."""
    due = reservations.due(now, nodes)
    assert due is not None
    reservations.reserve(due.uid, node, now)
    return due.key[1]


def test_nobody_is_due_before_having_waited() -> None:
    reservations = waiting(entry("a"))
    assert reservations.next_time() == 30.0
    assert reservations.due(29.9, nodes=1) is None
    assert reservations.due(30.0, nodes=1) == entry("a")


def test_repeated_rejections_do_not_start_the_waiting_anew() -> None:
    reservations = waiting(entry("a"))
    reservations.wait(entry("a"), 29.0)
    assert reservations.due(30.0, nodes=1) == entry("a")


def test_the_highest_priority_is_due_first_then_the_oldest() -> None:
    reservations = waiting(
        entry("young", created=3.0), entry("old", created=1.0), entry("urgent", priority=5, created=4.0)
    )
    due = [reserve(reservations, f"node-{number}", 30.0, nodes=100) for number in range(3)]
    assert due == ["urgent", "old", "young"]


def test_a_changed_priority_counts() -> None:
    reservations = waiting(entry("a", created=1.0), entry("b", created=2.0))
    assert reservations.due(30.0, nodes=1) == entry("a", created=1.0)
    reservations.wait(entry("b", created=2.0, priority=1), 30.0)
    assert reservations.due(30.0, nodes=1) == entry("b", created=2.0, priority=1)


@pytest.mark.parametrize(("nodes", "most"), [(0, 1), (1, 1), (39, 1), (40, 2), (1000, 50)])
def test_a_twentieth_of_the_nodes_may_be_reserved_but_at_least_one(nodes: int, most: int) -> None:
    reservations = waiting(*(entry(str(number)) for number in range(100)))
    reserved = 0
    while reservations.due(30.0, nodes) is not None:
        reserve(reservations, f"node-{reserved}", 30.0, nodes)
        reserved += 1
    assert reserved == most


def test_a_reservation_lets_only_those_before_it_through() -> None:
    reservations = waiting(entry("large", created=5.0))
    reserve(reservations, "node-1", 30.0)
    [reservation] = reservations.active(30.0).values()
    assert reservation.yields_to(entry("large", created=5.0))
    assert reservation.yields_to(entry("older", created=4.0))
    assert reservation.yields_to(entry("urgent", priority=1, created=6.0))
    assert not reservation.yields_to(entry("younger", created=6.0))
    assert not reservation.yields_to(entry("older but lesser", priority=-1, created=4.0))


def test_a_reservation_lapses_and_the_next_comes_after_as_long_a_pause_for_twice_as_long() -> None:
    reservations = waiting(entry("a"))
    now, holds, pauses, ended = 30.0, [], [], None
    for _ in range(6):
        if ended is not None:
            pauses.append(now - ended)
        reserve(reservations, "node-1", now)
        [reservation] = reservations.active(now).values()
        ended = reservation.until
        holds.append(ended - now)
        assert reservations.active(ended - 0.1)
        assert not reservations.active(ended)
        next_time = reservations.next_time()
        assert next_time is not None
        assert reservations.due(next_time - 0.1, nodes=1) is None
        now = next_time
    assert holds == [300.0, 600.0, 1200.0, 2400.0, 3600.0, 3600.0]
    assert pauses == holds[:-1]


def test_a_vm_that_had_its_turn_stands_behind_those_that_came_meanwhile() -> None:
    reservations = waiting(entry("a", created=0.0))
    reserve(reservations, "node-1", 30.0)
    reservations.wait(entry("b", created=500.0), 500.0)
    reservations.wait(entry("c", created=700.0), 500.0)
    assert [reserve(reservations, f"node-{number}", 1000.0, nodes=100) for number in range(3)] == ["b", "a", "c"]


def test_a_node_rests_for_half_of_the_time_that_it_was_reserved_in_vain() -> None:
    reservations = waiting(entry("a"), entry("b", created=1.0))
    reserve(reservations, "node-1", 30.0)
    assert not reservations.available("node-1", 329.0)
    assert not reservations.available("node-1", 479.0)
    assert reservations.available("node-2", 479.0)
    assert reservations.available("node-1", 480.0)


def test_making_and_deleting_large_vms_gives_a_node_no_less_rest() -> None:
    reservations = waiting(entry("a"))
    reserve(reservations, "node-1", 30.0)
    reservations.leave("uid-a", 230.0)
    assert not reservations.active(230.0)
    assert not reservations.available("node-1", 329.0)
    assert reservations.available("node-1", 330.0)


def test_a_reservation_that_was_met_needs_no_rest() -> None:
    reservations = waiting(entry("a"))
    reserve(reservations, "node-1", 30.0)
    reservations.met("uid-a", 40.0)
    assert not reservations.active(40.0)
    assert reservations.available("node-1", 40.0)
    reservations.leave("uid-a", 41.0)
    assert reservations.next_time() is None


def test_a_write_that_failed_costs_the_vm_no_pause() -> None:
    reservations = waiting(entry("a"))
    reserve(reservations, "node-1", 30.0)
    reservations.met("uid-a", 40.0)
    assert reserve(reservations, "node-2", 40.0) == "a"
    assert reservations.active(339.0)


def test_who_finds_no_node_lets_others_go_first() -> None:
    reservations = waiting(entry("a", created=1.0), entry("b", created=2.0))
    reservations.due(30.0, nodes=1)
    reservations.pass_over("uid-a", 30.0)
    assert reservations.due(30.0, nodes=1) == entry("b", created=2.0)
    assert reservations.due(60.0, nodes=1) == entry("a", created=1.0)


def test_a_vanished_node_costs_the_vm_no_pause() -> None:
    reservations = waiting(entry("a"))
    reserve(reservations, "node-1", 30.0)
    reservations.node_gone("node-1", 100.0)
    assert not reservations.active(100.0)
    assert reserve(reservations, "node-2", 100.0) == "a"
    assert reservations.active(399.0)


def test_a_node_that_comes_back_under_its_name_does_not_rest() -> None:
    reservations = waiting(entry("a"))
    reserve(reservations, "node-1", 30.0)
    assert not reservations.available("node-1", 400.0)
    reservations.node_gone("node-1", 400.0)
    assert reservations.available("node-1", 400.0)


def test_every_ending_is_told_once() -> None:
    reservations = waiting(entry("a"), entry("b", created=1.0))
    reserve(reservations, "node-1", 30.0)
    assert reservations.next_time() == 330.0
    assert not reservations.ended(300.0)
    assert reservations.ended(330.0)
    assert not reservations.ended(330.0)
    reserve(reservations, "node-2", 330.0)
    reservations.leave("uid-b", 340.0)
    assert reservations.ended(340.0)


def test_only_who_is_due_gets_an_available_node() -> None:
    reservations = waiting(entry("a"), entry("b"))
    with pytest.raises(ValueError, match="uid-a is not due"):
        reservations.reserve("uid-a", "node-1", 10.0)
    reserve(reservations, "node-1", 30.0)
    with pytest.raises(ValueError, match="uid-a is not due"):
        reservations.reserve("uid-a", "node-2", 30.0)
    with pytest.raises(ValueError, match="node-1 is reserved"):
        reservations.reserve("uid-b", "node-1", 30.0)


def test_who_left_is_forgotten() -> None:
    reservations = waiting(entry("a"))
    reservations.leave("uid-a", 10.0)
    assert reservations.due(100.0, nodes=1) is None
    reservations.leave("uid-a", 10.0)


@dataclass
class Vm:
    entry: Entry
    size: int
    life: float


@dataclass
class World:
    """Nodes of `capacity` units, a queue, and time in steps of a second. Never more than `backlog` small VMs wait."""

    nodes: int
    capacity: int = 4
    life: float = 60.0
    reservations: Reservations = field(default_factory=Reservations)
    backlog: int = 8
    now: float = 0.0
    vms: dict[str, Vm] = field(default_factory=dict)
    placed: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Node, and when."""
    running: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Node, and until when."""

    def __post_init__(self) -> None:
        self.queue: SchedulingQueue[int, str] = SchedulingQueue(reservations=self.reservations)
        self.free = {f"node-{number}": self.capacity for number in range(self.nodes)}
        self.small = self._names()

    def _names(self) -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield f"small-{number}"

    def add(self, name: str, size: int, *, life: float = float("inf"), priority: int = 0) -> None:
        one = entry(name, priority=priority, created=self.now)
        self.vms[name] = Vm(one, size, life)
        self.queue.add(one, self.now)

    def step(self) -> None:
        self.now += 1.0
        self._end_lives()
        while self.queue.parked(1) < self.backlog:
            life = self.life * (0.5 + 0.5 * (len(self.vms) * 7 % 10) / 10)
            self.add(next(self.small), 1, life=life)
            self._schedule()
        self._reserve()
        self._schedule()

    def _end_lives(self) -> None:
        for name, (node, until) in list(self.running.items()):
            if until <= self.now:
                del self.running[name]
                self.free[node] += self.vms[name].size
                self.queue.happened(Cure.CLAIM_FREED)

    def _reserve(self) -> None:
        while (due := self.reservations.due(self.now, self.nodes)) is not None:
            nodes = [node for node in self.free if self.reservations.available(node, self.now)]
            if nodes and self.vms[due.key[1]].size <= self.capacity:
                self.reservations.reserve(due.uid, max(nodes, key=lambda node: self.free[node]), self.now)
            else:
                self.reservations.pass_over(due.uid, self.now)

    def _place(self, vm: Vm) -> str | None:
        reserved = self.reservations.active(self.now)
        for node, free in self.free.items():
            held = reserved.get(node)
            kept = 0 if held is None or held.yields_to(vm.entry) else self.vms[held.entry.key[1]].size
            if free >= vm.size + kept:
                return node
        return None

    def _schedule(self) -> None:
        while (one := self.queue.pop(self.now)) is not None:
            vm = self.vms[one.key[1]]
            if self.queue.join(one.key, vm.size, self.now) is not None:
                continue
            node = self._place(vm)
            if node is None:
                verdict = Verdict(frozenset({Cure.CLAIM_FREED}), "full", room=True)
                self.queue.park(one.key, vm.size, verdict, self.now)
                continue
            self.queue.placed(one.key, vm.size, self.now)
            self.free[node] -= vm.size
            self.placed[one.key[1]] = (node, self.now)
            self.running[one.key[1]] = (node, self.now + vm.life)
            self.queue.done(one.key, self.now)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.step()

    def small_times(self, since: float) -> list[float]:
        return sorted(at for name, (_, at) in self.placed.items() if name.startswith("small") and at >= since)


def crowded(nodes: int, **kwargs: float) -> World:
    """A world that small VMs have filled."""
    world = World(nodes, **kwargs)  # type: ignore[arg-type] # floats only
    world.run(100)
    return world


@pytest.mark.parametrize("nodes", [1, 5])
def test_a_large_vm_gets_in_while_small_ones_come_and_go(nodes: int) -> None:
    world = crowded(nodes)
    world.add("large", 4)
    older_ones = world.backlog * world.life / world.capacity
    world.run(30 + older_ones + world.life)
    assert "large" in world.placed


@pytest.mark.parametrize("nodes", [1, 5])
def test_without_reservations_it_would_starve(nodes: int) -> None:
    world = World(nodes, reservations=Reservations(after=float("inf")))
    world.run(100)
    world.add("large", 4)
    world.run(2000)
    assert "large" not in world.placed


def test_small_ones_that_outlive_the_first_reservation_do_not_outlive_all() -> None:
    world = crowded(1, life=1500.0)
    world.run(3000)
    world.add("large", 4)
    world.run(2 * (300 + 600 + 1200) + 2400)
    assert "large" in world.placed


def test_small_ones_go_on_though_a_large_one_never_fits() -> None:
    world = World(1)
    world.add("immortal", 1)
    world.run(100)
    world.add("large", 4)
    world.run(20_000)
    assert "large" not in world.placed
    times = [100.0, *world.small_times(100.0), world.now]
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) <= 3600 + world.life
    resting = sum(gap for gap in gaps if gap < world.life)
    assert resting > 20_000 / 3


def test_small_ones_go_on_though_many_large_ones_in_turn_never_fit() -> None:
    world = World(1)
    world.add("immortal", 1)
    world.run(100)
    for number in range(30):
        world.add(f"large-{number}", 4)
    world.run(10_000)
    times = [100.0, *world.small_times(100.0), world.now]
    gaps = [after - before for before, after in pairwise(times)]
    assert sum(gap for gap in gaps if gap < world.life) > 10_000 / 4


def test_a_large_vm_that_never_fits_does_not_starve_one_that_does() -> None:
    world = World(1)
    world.add("immortal", 1)
    world.run(100)
    world.add("never", 4, priority=10)
    world.run(10)
    world.add("sometimes", 3)
    world.run(300 + 150 + 60 + world.life)
    assert "sometimes" in world.placed


def test_with_other_nodes_small_ones_hardly_notice() -> None:
    world = crowded(5)
    before = len(world.small_times(50.0)) / 50
    world.add("immortal", 1, priority=1)
    world.add("never", 5)
    world.run(1000)
    assert len(world.small_times(200.0)) / 900 > 0.7 * before
