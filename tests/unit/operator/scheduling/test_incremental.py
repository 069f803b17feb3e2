"""A snapshot that went through any history is as good as one that was built this moment."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operator.scheduling.clusters import NAMES, NAMESPACES, POOLS, Scene, reservation, scenes, snapshot_of
from tests.unit.operator.scheduling.reference import World
from tests.unit.operator.scheduling.test_against_reference import check

from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.nodes import NodeFacts
from berth_operator.scheduling.place import place
from berth_operator.scheduling.snapshot import Reservation, Snapshot

FEW = 4
"""Nodes to which things happen: claims on the others wait for theirs to come."""
Step = tuple[str, int, int]
"""What happens, to which node or VM, and in which edition."""


@dataclass
class History:
    """A snapshot, and beside it what it was told, in plain dictionaries."""

    scene: Scene
    snapshot: Snapshot = field(default_factory=Snapshot)
    nodes: dict[str, NodeFacts] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)
    failures: dict[str, int] = field(default_factory=dict)
    migrations: dict[str, int] = field(default_factory=dict)
    held: dict[int, Holding] = field(default_factory=dict)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()

    def world(self) -> World:
        return World(
            nodes=tuple(self.nodes.values()),
            ready=frozenset(self.ready),
            holdings=tuple(self.held.values()),
            namespaces=self.namespaces,
            failures=self.failures,
            migrations=self.migrations,
            reservations=self.reservations,
            shared_pools=self.shared,
        )

    def upsert(self, number: int, edition: int) -> None:
        facts = self.scene.node(number % FEW, edition)
        self.nodes[facts.name] = facts
        self.snapshot.upsert(facts)

    def remove(self, number: int, _edition: int) -> None:
        name = NAMES[number % FEW]
        self.nodes.pop(name, None)
        self.ready.discard(name)
        self.failures.pop(name, None)
        self.migrations.pop(name, None)
        self.snapshot.remove(name)

    def set_ready(self, number: int, edition: int) -> None:
        name, ready = NAMES[number % FEW], edition > 0
        if name in self.nodes:
            (self.ready.add if ready else self.ready.discard)(name)
        self.snapshot.set_ready(name, ready=ready)

    def count(self, number: int, edition: int) -> None:
        name = NAMES[number % FEW]
        if name in self.nodes:
            self.failures[name], self.migrations[name] = edition, number % 3
        self.snapshot.set_failures(name, edition)
        self.snapshot.set_migrations(name, number % 3)

    def take(self, number: int, _edition: int) -> None:
        if number not in self.held:
            self.held[number] = self.scene.holding(number)
            self.snapshot.take(self.held[number])

    def give_back(self, number: int, _edition: int) -> None:
        self.snapshot.give_back(self.held.pop(number, self.scene.holding(number)))

    def name_space(self, number: int, edition: int) -> None:
        name = NAMESPACES[number % len(NAMESPACES)]
        labels = self.scene.dice(("namespace", name, edition)).labels() if edition else None
        self.namespaces.pop(name, None)
        if labels is not None:
            self.namespaces[name] = labels
        self.snapshot.name_space(name, labels)

    def reserve(self, number: int, edition: int) -> None:
        dice = self.scene.dice(("reserve", edition))
        self.reservations = {name: reservation(dice) for name in NAMES if dice.chance(0.5) and number % 2}
        self.snapshot.reserve(self.reservations)

    def share(self, number: int, edition: int) -> None:
        self.shared = frozenset(POOLS[: (number + edition) % 3])
        self.snapshot.share_pools(self.shared)


STEPS = ("upsert", "upsert", "upsert", "take", "take", "take", "set_ready", "set_ready", "remove", "give_back")
RARE = ("count", "name_space", "reserve", "share")
steps = st.tuples(st.sampled_from((*STEPS, *RARE)), st.integers(0, 15), st.integers(0, 2))


def amounts(snapshot: Snapshot) -> dict[str, list[int]]:
    """Everything that is counted, by node."""
    pools = [snapshot.free_storage(name) for name in POOLS]
    columns = [snapshot.free_cpu, snapshot.free_memory, snapshot.free_slots, snapshot.failures, snapshot.migrations]
    return {name: [int(column[row]) for column in (*columns, *pools)] for name, row in snapshot.index.items()}


@given(scenes(), st.lists(steps, min_size=10, max_size=60))
@settings(max_examples=100, deadline=None)
def test_whatever_happens_the_snapshot_answers_like_a_new_one(scene: Scene, happening: list[Step]) -> None:
    history = History(scene)
    wanted = [scene.request(number) for number in range(3)]
    for at, (name, number, edition) in enumerate(happening):
        getattr(history, name)(number, edition)
        place(history.snapshot, wanted[at % 3])
    rebuilt = snapshot_of(history.world())
    assert amounts(history.snapshot) == amounts(rebuilt)
    for request in wanted:
        assert place(history.snapshot, request) == place(rebuilt, request)
        check(history.world(), request, history.snapshot)


@given(scenes(), st.lists(steps, min_size=5, max_size=15))
@settings(max_examples=60, deadline=None)
def test_every_step_counts_at_once(scene: Scene, happening: list[Step]) -> None:
    history, request = History(scene), scene.request()
    for number in range(FEW):
        history.upsert(number, 0)
        history.set_ready(number, 1)
    for number in range(scene.placed):
        history.take(number, 0)
    for name, number, edition in happening:
        getattr(history, name)(number, edition)
        check(history.world(), request, history.snapshot)
