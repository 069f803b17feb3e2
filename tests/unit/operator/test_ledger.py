"""What is held: assumed and confirmed, counted once, freed once."""

from ipaddress import ip_address

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.operator.worlds import GIB, facts, holding, request, same, vm_body

from berth_api.virtualmachines import VirtualMachine
from berth_operator.scheduling.ledger import Holding, Ledger, held_by
from berth_operator.scheduling.nodes import Nodes
from berth_operator.scheduling.place import Placement, place
from berth_operator.scheduling.snapshot import Snapshot, Usage

NODES = Nodes.of([facts("node-1", cpu=3000, memory=3 * GIB), facts("node-2", cpu=2000, memory=2 * GIB)])


def ledger() -> Ledger:
    one = Ledger()
    one.reindex(NODES)
    return one


def test_a_claim_that_is_assumed_and_confirmed_counts_once() -> None:
    one = ledger()
    one.assume(holding("a"))
    assert one.observe("a", holding("a")) is False
    assert one.usage.cpu[0] == 1000
    assert one.settle("a") is False
    assert one.usage.cpu[0] == 1000


def test_a_failed_write_frees_what_was_assumed() -> None:
    one = ledger()
    one.assume(holding("a", addresses=("10.0.0.5/24",)))
    assert one.settle("a") is True
    assert one.usage.cpu.sum() == 0
    assert not one.taken("lan")
    assert one.mac_owner("02:be:a", but="b") is None


def test_an_old_state_does_not_take_an_assumption_away() -> None:
    one = ledger()
    one.assume(holding("a"))
    one.observe("a", None)
    assert one.usage.cpu[0] == 1000


def test_a_claim_is_freed_exactly_once() -> None:
    one = ledger()
    one.observe("a", holding("a"))
    assert one.observe("a", None) is True
    assert one.observe("a", None) is False
    assert one.usage.memory.sum() == 0


def test_a_new_claim_replaces_the_old_one() -> None:
    one = ledger()
    one.observe("a", holding("a", claim="1"))
    assert one.observe("a", holding("a", "node-2", claim="2")) is True
    assert one.usage.cpu.tolist() == [0, 1000]


def test_an_address_has_an_owner_other_than_oneself() -> None:
    one = ledger()
    one.observe("a", holding("a", addresses=("10.0.0.5/24",)))
    address = ip_address("10.0.0.5")
    assert one.address_owner("lan", address, but="b") == "default/a"
    assert one.address_owner("lan", address, but="a") is None
    assert one.address_owner("other", address, but="b") is None


def test_claims_on_a_node_that_is_gone_still_hold_space_on_a_shared_pool() -> None:
    one = Ledger()
    one.observe("a", holding("a", "gone", pools={"nfs": GIB, "default": GIB}))
    nodes = Nodes.of([facts("node-1", pools={"nfs": 2 * GIB, "default": GIB})], ["nfs"])
    one.reindex(nodes)
    assert one.usage.pools["nfs"].sum() == GIB
    assert one.usage.pools["default"].sum() == 0


def bound_body(**status: object) -> dict[str, object]:
    claim = {
        "id": "c1",
        "epoch": 1,
        "cpu": "1500m",
        "memory": "2Gi",
        "storage": "1Gi",
        "pools": [{"name": "p", "size": "1Gi"}],
    }
    return vm_body("a") | {"status": {"nodeName": "node-1", "claim": claim, **status}}


def test_what_a_vm_holds_follows_from_its_status() -> None:
    held = held_by(VirtualMachine.from_api(bound_body()))
    assert held is not None
    assert (held.claim_id, held.node, held.cpu, held.memory, held.pools) == ("c1", "node-1", 1500, 2 * GIB, {"p": GIB})


def test_a_refused_or_released_claim_holds_nothing() -> None:
    assert held_by(VirtualMachine.from_api(bound_body(refusedClaim="c1"))) is None
    assert held_by(VirtualMachine.from_api(bound_body(releasedClaim="c1"))) is None


def test_the_answer_to_an_earlier_claim_frees_nothing() -> None:
    assert held_by(VirtualMachine.from_api(bound_body(refusedClaim="c0", releasedClaim="c0"))) is not None


class Claims(RuleBasedStateMachine):
    """Create, write, fail, refuse, delete, lose track and rebuild in any order: what holds then, always holds."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = ledger()
        self.in_flight: dict[str, Holding] = {}
        self.server: dict[str, Holding] = {}
        self.count = 0

    @rule(cpu=st.integers(100, 2500), memory=st.integers(1, 2 * GIB))
    def decide(self, cpu: int, memory: int) -> None:
        seen = Snapshot(NODES, self.ledger.usage, NODES.mask(["node-1", "node-2"]))
        answer = place(seen, request(cpu=cpu, memory=memory))
        if isinstance(answer, Placement):
            self.count += 1
            made = holding(f"vm{self.count}", answer.node, cpu=cpu, memory=memory, pools={})
            self.ledger.assume(made)
            self.in_flight[made.uid] = made

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), succeeds=st.booleans())
    def finish_a_write(self, data: st.DataObject, succeeds: bool) -> None:
        uid = data.draw(st.sampled_from(sorted(self.in_flight)))
        made = self.in_flight.pop(uid)
        if succeeds:
            self.server[uid] = made
            self.ledger.observe(uid, made)
        self.ledger.settle(uid)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def the_watch_is_faster_than_the_answer(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.in_flight)))
        self.server[uid] = self.in_flight[uid]
        self.ledger.observe(uid, self.in_flight[uid])
        del self.in_flight[uid]
        self.ledger.settle(uid)

    @precondition(lambda self: self.server)
    @rule(data=st.data(), told=st.integers(1, 3))
    def refuse_or_release(self, data: st.DataObject, told: int) -> None:
        uid = data.draw(st.sampled_from(sorted(self.server)))
        del self.server[uid]
        freed = [self.ledger.observe(uid, None) for _ in range(told)]
        assert freed == [True] + [False] * (told - 1)

    @rule()
    def the_leader_changes(self) -> None:
        self.server |= self.in_flight
        self.in_flight.clear()
        self.ledger.rebuild(self.server.values())

    @rule()
    def nodes_are_listed_anew(self) -> None:
        self.ledger.reindex(NODES)

    @invariant()
    def no_node_is_past_its_capacity(self) -> None:
        assert (self.ledger.usage.cpu <= NODES.cpu).all()
        assert (self.ledger.usage.memory <= NODES.memory).all()

    @invariant()
    def nothing_leaks(self) -> None:
        fresh = ledger()
        for one in (*self.server.values(), *self.in_flight.values()):
            fresh.observe(one.uid, one)
        assert same(fresh.usage, self.ledger.usage)
        assert len(self.ledger) == len(fresh)


Claims.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestClaims = Claims.TestCase


def test_usage_starts_at_nothing() -> None:
    assert same(ledger().usage, Usage.none(NODES))
