"""Admission: the node's own check never lets the sum of claims past what the node has."""

from hypothesis import given
from hypothesis import strategies as st

from berth_agent.reconcile.admissions import Admissions
from berth_api.allocatable import Amounts, allocatable
from berth_api.hypervisors import HypervisorSpec, Overcommit, Reserved
from berth_api.quantities import from_bytes, from_millis, to_bytes, to_millis
from berth_api.virtualmachines import Claim, ClaimedPool

GIB = 1024**3
ROOM = Amounts(cpu=2000, memory=8 * GIB, pools={"default": 100 * GIB})
SPEC = HypervisorSpec(overcommit=Overcommit(cpu=2.0), reserved=Reserved(memory="1Gi"))


def claim(name: str = "c", *, cpu: int = 1000, memory: int = GIB, storage: int = GIB, epoch: int = 3) -> Claim:
    return Claim(
        id=name,
        epoch=epoch,
        cpu=from_millis(cpu),
        memory=from_bytes(memory),
        storage=from_bytes(storage),
        pools=(ClaimedPool(name="default", size=from_bytes(storage)),),
    )


claims = st.builds(
    claim,
    st.uuids().map(str),
    cpu=st.integers(1, 3000),
    memory=st.integers(1, 4 * GIB),
    storage=st.integers(1, 50 * GIB),
)
moves = st.lists(st.tuples(st.sampled_from(["admit", "release"]), st.sampled_from("abcdef"), claims), max_size=40)


@given(moves)
def test_whatever_is_asked_the_node_is_never_filled_past_its_limits(history: list[tuple[str, str, Claim]]) -> None:
    admissions = Admissions()
    held: dict[str, Claim] = {}
    for move, uid, wanted in history:
        if move == "release":
            admissions.release(uid)
            held.pop(uid, None)
        elif admissions.admit(uid, wanted, ROOM, SPEC, current_epoch=3) is None:
            held[uid] = wanted
        assert sum(to_millis(c.cpu) for c in held.values()) <= 4000
        assert sum(to_bytes(c.memory) for c in held.values()) <= 7 * GIB
        assert sum(to_bytes(p.size) for c in held.values() for p in c.pools) <= 100 * GIB


def test_a_refusal_says_what_is_short_and_by_how_much() -> None:
    admissions = Admissions()
    assert admissions.admit("a", claim("a", memory=5 * GIB), ROOM, SPEC, current_epoch=3) is None
    refusal = admissions.admit("b", claim("b", memory=4 * GIB), ROOM, SPEC, current_epoch=3)
    assert refusal is not None
    assert (refusal.reason, refusal.message) == ("InsufficientMemory", "the node is short of 2Gi of memory")


def test_a_former_leaders_claim_is_refused() -> None:
    refusal = Admissions().admit("a", claim(epoch=2), ROOM, SPEC, current_epoch=3)
    assert refusal is not None
    assert refusal.reason == "StaleEpoch"


def test_what_the_nodes_pods_request_is_not_there_for_vms() -> None:
    pods = Amounts(cpu=3500, memory=GIB)
    refusal = Admissions().admit("a", claim(cpu=1000), ROOM, SPEC, pods, current_epoch=3)
    assert refusal is not None
    assert (refusal.reason, refusal.message) == ("InsufficientCPU", "the node is short of 500m CPU")
    assert Admissions().admit("a", claim(cpu=500), ROOM, SPEC, pods, current_epoch=3) is None


def test_pods_that_came_later_cost_no_admitted_vm_its_place() -> None:
    admissions = Admissions()
    assert admissions.admit("a", claim("a"), ROOM, SPEC, current_epoch=3) is None
    assert admissions.admit("a", claim("a"), ROOM, SPEC, Amounts(cpu=9000), current_epoch=3) is None
    assert admissions.admit("b", claim("b", cpu=1), ROOM, SPEC, Amounts(cpu=9000), current_epoch=3) is not None


def test_a_node_holds_no_more_vms_than_it_may() -> None:
    admissions, two = Admissions(), SPEC.model_copy(update={"max_virtual_machines": 2})
    tiny = {"cpu": 1, "memory": 1, "storage": 1}
    for uid in "ab":
        assert admissions.admit(uid, claim(uid, **tiny), ROOM, two, current_epoch=3) is None
    refusal = admissions.admit("c", claim("c", **tiny), ROOM, two, current_epoch=3)
    assert refusal is not None
    assert (refusal.reason, refusal.message) == ("NoFreeSlot", "the node holds 2 VMs already, and may hold 2")
    assert admissions.admit("a", claim("a2", **tiny), ROOM, two, current_epoch=3) is None, "its own slot"
    admissions.release("b")
    assert admissions.admit("c", claim("c", **tiny), ROOM, two, current_epoch=3) is None


def test_a_pool_that_is_not_ready_is_named() -> None:
    bare = Amounts(cpu=2000, memory=8 * GIB, pools={})
    refusal = Admissions().admit("a", claim(), bare, SPEC, current_epoch=3)
    assert refusal is not None
    assert refusal.reason == "StoragePoolNotReady"
    assert "default" in refusal.message


def test_admitting_the_same_claim_twice_counts_it_once() -> None:
    admissions = Admissions()
    big = claim("big", memory=6 * GIB)
    assert admissions.admit("a", big, ROOM, SPEC, current_epoch=3) is None
    assert admissions.admit("a", big, ROOM, SPEC, current_epoch=3) is None


@given(
    st.integers(0, 64_000),
    st.integers(0, 1024 * GIB),
    st.integers(0, 1024 * GIB),
    st.sampled_from([0.1, 0.5, 1.0, 1.5, 4.0, 8.0]),
    st.integers(0, 16 * GIB),
)
def test_whatever_the_operator_may_bind_to_an_empty_node_the_agent_admits_and_no_more(
    cpu: int, memory: int, storage: int, ratio: float, reserved: int
) -> None:
    total = Amounts(cpu=cpu, memory=memory, pools={"default": storage})
    spec = HypervisorSpec(
        overcommit=Overcommit(cpu=ratio, memory=ratio, storage=ratio),
        reserved=Reserved(cpu=from_millis(reserved % 8000), memory=from_bytes(reserved), storage=from_bytes(reserved)),
    )
    limits = allocatable(total, spec)
    whole = claim(cpu=limits.cpu, memory=limits.memory, storage=limits.pools["default"])
    assert Admissions().admit("a", whole, total, spec, current_epoch=3) is None
    for more in (
        claim(cpu=limits.cpu + 1, memory=1, storage=1),
        claim(cpu=1, memory=limits.memory + 1, storage=1),
        claim(cpu=1, memory=1, storage=limits.pools["default"] + 1),
    ):
        assert Admissions().admit("a", more, total, spec, current_epoch=3) is not None
