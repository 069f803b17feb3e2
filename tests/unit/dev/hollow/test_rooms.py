"""A hollow node has the room that an agent would say it has."""

from hypothesis import given
from hypothesis import strategies as st

from berth_agent.reconcile.admissions import Admissions
from berth_api import virtualmachines
from berth_api.allocatable import Amounts, allocatable
from berth_api.hypervisors import HypervisorSpec
from berth_api.quantities import from_bytes, from_millis
from berth_api.virtualmachines import ClaimedPool
from berth_dev.hollow.machines import Claim
from berth_dev.hollow.rooms import Limits, Refusal, Rooms

GIB = 2**30
PODS = Amounts(cpu=300, memory=GIB)
TOTAL = Amounts(cpu=4000, memory=8 * GIB, pools={"default": 100 * GIB})
POOLS = st.dictionaries(st.sampled_from(["default", "other"]), st.integers(0, 60 * GIB), max_size=2)
CLAIMS = st.builds(Claim, st.uuids().map(str), st.just(1), st.integers(0, 9000), st.integers(0, 5 * GIB), POOLS)
ACTS = st.lists(st.tuples(st.sampled_from(["admit", "release"]), st.sampled_from(["vm-1", "vm-2", "vm-3"]), CLAIMS))


def as_object(claim: Claim) -> virtualmachines.Claim:
    return virtualmachines.Claim(
        id=claim.id,
        epoch=claim.epoch,
        cpu=from_millis(claim.cpu),
        memory=from_bytes(claim.memory),
        storage="0",
        pools=tuple(ClaimedPool(name=name, size=from_bytes(size)) for name, size in claim.pools.items()),
    )


@given(ACTS)
def test_it_answers_as_the_agent_does(acts: list[tuple[str, str, Claim]]) -> None:
    rooms, agent, spec = Rooms(), Admissions(), HypervisorSpec(max_virtual_machines=2)
    limits = Limits(allocatable(TOTAL, spec, PODS), spec.max_virtual_machines)
    for act, uid, claim in acts:
        if act == "release":
            rooms.release(uid)
            agent.release(uid)
            continue
        rooms.release(uid)
        agent.release(uid)
        expected = agent.admit(uid, as_object(claim), TOTAL, spec, PODS, current_epoch=1)
        refusal = rooms.shortage("node", limits, claim)
        assert (refusal and (refusal.reason, refusal.message)) == (expected and (expected.reason, expected.message))
        if refusal is None:
            rooms.hold("node", uid, claim)


def test_a_vm_holds_one_claim_on_one_node() -> None:
    rooms, claim = Rooms(), Claim("c1", 1, 4000, GIB)
    limits = Limits(Amounts(cpu=4000, memory=2 * GIB), slots=10)
    rooms.hold("a", "vm", claim)
    rooms.hold("a", "vm", claim)
    assert rooms.shortage("a", limits, Claim("c3", 1, 4001, 0)) == Refusal(
        "InsufficientCPU", "the node is short of 4001m CPU"
    )
    rooms.hold("b", "vm", Claim("c2", 1, 4000, GIB))
    assert rooms.shortage("a", limits, claim) is None
    assert rooms.shortage("b", limits, claim) is not None
    assert rooms.holds("vm", "c2")
    assert not rooms.holds("vm", "c1")
