"""Claims under every interleaving of decisions, writes, deletions, refusals, late events and changes of leader."""

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.operator.scheduling import reference
from tests.unit.operator.scheduling.claiming import APART, NODES, SHARED, Body, Leader, Server, Write

from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.snapshot import Snapshot

NAMES = tuple(f"vm-{number}" for number in range(12))
PICK = st.integers(0, 99)


def overfull(holdings: Iterable[Holding]) -> list[str]:
    """Nodes and stores of which more is claimed than there is."""
    world = reference.World(nodes=NODES, holdings=tuple(holdings), shared_pools=frozenset(SHARED))
    free = {
        f"{node.name} {what}": amount
        for node in NODES
        for what, amount in (
            ("CPU", reference.free_cpu(world, node)),
            ("memory", reference.free_memory(world, node)),
            ("slots", reference.free_slots(world, node)),
            *((pool, reference.free_storage(world, node, pool) or 0) for pool in node.allocatable.pools),
        )
    }
    return [what for what, amount in free.items() if amount < 0]


def too_close(holdings: Iterable[Holding]) -> list[tuple[str, str]]:
    """VMs on one node of which one must not be near the other."""
    held = list(holdings)
    return [
        (one.owner, other.owner)
        for one in held
        for other in held
        if one is not other
        and one.node == other.node
        and APART in one.member.anti_affinity
        and ("app", "db") in other.member.label_pairs
    ]


def uid_of(body: Body) -> str:
    uid: str = body["metadata"]["uid"]
    return uid


def empty(snapshot: Snapshot) -> bool:
    """Nothing is held, and nobody is remembered."""
    full = all(
        (free == total).all()
        for free, total in (
            (snapshot.free_cpu, snapshot.cpu),
            (snapshot.free_memory, snapshot.memory),
            (snapshot.free_slots, snapshot.slots),
        )
    )
    stored = any(pool.held.any() or pool.held_in_all for pool in snapshot.pools.values())
    people = snapshot.populations
    known = people._members or people._by_pair or people.repelling._tallies or people.attracting._tallies
    return full and not (stored or known or snapshot._held or any(people._tallies.values()))


class Claims(RuleBasedStateMachine):
    """One process leads at a time; whoever led before may still have writes on their way."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.leaders: list[Leader] = []
        self.writes: list[Write] = []

    @initialize()
    def the_first_leader(self) -> None:
        self.another_process_takes_over()

    @property
    def leader(self) -> Leader:
        return self.leaders[-1]

    def tell(self, kind: str, body: Body) -> None:
        for leader in self.leaders:
            leader.events.append((kind, body))

    @rule(pick=PICK)
    def create(self, pick: int) -> None:
        name = NAMES[pick % len(NAMES)]
        if name not in self.server.objects:
            self.tell("upsert", self.server.create(name))

    @rule(pick=PICK, written=st.booleans())
    def several_are_created_and_decided(self, pick: int, written: bool) -> None:
        for number in range(4):
            self.create(pick + number)
        self.everything_arrives(again=True)
        for number in range(4):
            if self.leader.waiting():
                self.decide(pick + number, written)

    @rule(again=st.booleans())
    def everything_arrives(self, again: bool) -> None:
        for kind, body in self.leader.events:
            getattr(self.leader.store, kind)(body)
        if not again:
            self.leader.events.clear()

    @precondition(lambda self: self.leader.events)
    @rule(pick=PICK, again=st.booleans())
    def an_event_arrives(self, pick: int, again: bool) -> None:
        events = self.leader.events
        kind, body = events[pick % len(events)]
        if not again:
            events.pop(pick % len(events))
        getattr(self.leader.store, kind)(body)

    @precondition(lambda self: self.leader.events)
    @rule()
    def the_watch_breaks_and_a_list_repairs(self) -> None:
        self.leader.events.clear()
        self.leader.store.replace(self.server.listed())

    @precondition(lambda self: self.leader.waiting())
    @rule(pick=PICK, written=st.booleans())
    def decide(self, pick: int, written: bool) -> None:
        waiting = self.leader.waiting()
        write = self.leader.decide(waiting[pick % len(waiting)])
        if write is not None:
            self.writes.append(write)
            if written:
                self.a_write_arrives(-1)
                self.its_answer_arrives(-1)

    @precondition(lambda self: self.writes)
    @rule(pick=PICK)
    def a_write_arrives(self, pick: int) -> None:
        write = self.writes[pick % len(self.writes)] if pick >= 0 else self.writes[-1]
        if not write.arrived:
            write.arrived, write.outcome = True, self.server.bind(write)
            if write.outcome is not None:
                self.tell("upsert", write.outcome)

    @precondition(lambda self: self.writes)
    @rule(pick=PICK)
    def its_answer_arrives(self, pick: int) -> None:
        write = self.writes[pick % len(self.writes)] if pick >= 0 else self.writes[-1]
        if write.arrived:
            self.writes.remove(write)
            if write.epoch == write.leader.epoch:
                write.leader.hear(write)

    @precondition(lambda self: self.writes)
    @rule(pick=PICK, arrived=st.booleans())
    def its_answer_is_lost(self, pick: int, arrived: bool) -> None:
        if arrived:
            self.a_write_arrives(pick)
        write = self.writes.pop(pick % len(self.writes))
        if write.epoch == write.leader.epoch:
            write.leader.unsure.add(write.uid)

    @precondition(lambda self: self.leader.unsure)
    @rule()
    def the_leader_finds_out(self) -> None:
        for uid in sorted(self.leader.unsure):
            names = [name for name, body in self.server.objects.items() if body["metadata"]["uid"] == uid]
            self.leader.find_out(names[0] if names else "", uid)

    @precondition(lambda self: any(self.server.holdings()))
    @rule(pick=PICK)
    def an_agent_refuses(self, pick: int) -> None:
        self._answer(pick, refuses=True)

    @precondition(lambda self: any(self.server.holdings()))
    @rule(pick=PICK)
    def an_agent_releases(self, pick: int) -> None:
        self._answer(pick, refuses=False)

    def _answer(self, pick: int, *, refuses: bool) -> None:
        bound = [name for name, body in self.server.objects.items() if body["holding"] is not None]
        name = bound[pick % len(bound)]
        excluded = frozenset({self.server.objects[name]["holding"].node}) if refuses else frozenset()
        self.tell("upsert", self.server.change(name, holding=None, excluded=excluded))

    @precondition(lambda self: self.writes)
    @rule(pick=PICK)
    def the_user_edits_a_vm_that_is_being_bound(self, pick: int) -> None:
        write = self.writes[pick % len(self.writes)]
        if write.name in self.server.objects and self.server.objects[write.name]["holding"] is None:
            self.tell("upsert", self.server.edit(write.name))
            self.a_write_arrives(pick)

    @precondition(lambda self: self.server.objects)
    @rule(pick=PICK)
    def delete(self, pick: int) -> None:
        names = sorted(self.server.objects)
        self.tell("remove", self.server.delete(names[pick % len(names)]))

    @rule()
    def another_process_takes_over(self) -> None:
        self.leaders.append(Leader(self.server))
        self.leader.lead()

    @rule()
    def the_same_process_leads_again(self) -> None:
        self.leader.lead()

    @rule(pick=PICK)
    def a_node_goes_and_returns(self, pick: int) -> None:
        facts = NODES[pick % len(NODES)]
        self.leader.snapshot.remove(facts.name)
        self.leader.snapshot.upsert(facts)
        self.leader.snapshot.set_ready(facts.name, ready=True)

    @invariant()
    def no_node_is_claimed_past_its_capacity(self) -> None:
        assert overfull(self.server.holdings()) == []

    @invariant()
    def no_group_is_violated(self) -> None:
        assert too_close(self.server.holdings()) == []

    @invariant()
    def the_ledger_is_what_the_leader_saw_and_what_it_assumes(self) -> None:
        leader = self.leader
        seen = {body["holding"].key for body in leader.store if body["holding"] is not None}
        assumed = {write.holding.key for write in self.writes if write.leader is leader and write.epoch == leader.epoch}
        counted = {holding.key for holding in leader.ledger.holdings}
        assert seen | assumed <= counted
        assert {uid for uid, _ in counted - seen - assumed} <= leader.unsure
        assert overfull(leader.ledger.holdings) == []
        assumptions = {(uid, leader.ledger.assumed(uid)) for uid in map(uid_of, leader.store)}
        assert {(uid, claim) for uid, claim in assumptions if claim} <= counted

    @invariant()
    def whatever_is_bound_counts(self) -> None:
        counted = {holding.key for holding in self.leader.ledger.holdings}
        assert {holding.key for holding in self.server.holdings()} <= counted

    def teardown(self) -> None:
        """In the end every VM is deleted, everything arrives, and nothing is left of any."""
        if not self.leaders:
            return
        for name in list(self.server.objects):
            self.tell("remove", self.server.delete(name))
        while self.writes:
            self.a_write_arrives(0)
            self.its_answer_arrives(0)
        self.the_leader_finds_out()
        self.everything_arrives(again=False)
        assert len(self.leader.ledger) == 0
        assert not +self.leader.snapshot.counts
        assert empty(self.leader.snapshot)


Claims.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestClaims = Claims.TestCase
