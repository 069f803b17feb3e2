"""What is held: assumed and confirmed, counted once, freed once; and what a VM's status says it holds."""

from ipaddress import ip_address
from typing import Any

from tests.unit.operator.scheduling.clusters import GIB
from tests.unit.operator.scheduling.examples import node, snapshot

from berth_api.virtualmachines import ClaimedInterface, VirtualMachine
from berth_operator.scheduling.groups import Member
from berth_operator.scheduling.holdings import Holding, held_by
from berth_operator.scheduling.ledger import Ledger
from berth_operator.scheduling.snapshot import Snapshot


def holding(uid: str, at: str = "node-1", *, claim: str = "", addresses: tuple[str, ...] = (), **more: Any) -> Holding:
    nic = ClaimedInterface(name="nic", network_name="lan", mac_address=f"02:be:{uid}", ip_addresses=addresses)
    amounts: dict[str, Any] = {"cpu": 1000, "memory": GIB, "pools": {"default": GIB}, **more}
    return Holding(uid, f"ns/{uid}", claim or f"claim-{uid}", at, interfaces=(nic,), **amounts)


def ledger() -> tuple[Ledger, Snapshot]:
    seen = snapshot(node("node-1"), node("node-2"))
    return Ledger(seen), seen


def used(seen: Snapshot) -> list[int]:
    """Millicores, per node."""
    return [int(amount) for amount in seen.cpu - seen.free_cpu]


def test_a_claim_that_is_assumed_and_confirmed_counts_once() -> None:
    one, seen = ledger()
    one.assume(holding("a"))
    assert one.observe("a", holding("a")) is False
    assert used(seen) == [1000, 0]
    assert one.settle("a") is False
    assert used(seen) == [1000, 0]
    assert [each.uid for each in one.holdings] == ["a"]


def test_a_failed_write_frees_what_was_assumed() -> None:
    one, seen = ledger()
    one.assume(holding("a", addresses=("10.0.0.5/24", "fd00::5/64")))
    assert one.assumed("a") == "claim-a"
    assert one.settle("a") is True
    assert one.assumed("a") is None
    assert used(seen) == [0, 0]
    assert not one.taken("lan")
    assert not any(one.taken_numbers("lan").values())
    assert one.mac_owner("02:be:a", but="b") is None


def test_an_old_state_does_not_take_an_assumption_away() -> None:
    one, seen = ledger()
    one.assume(holding("a"))
    assert one.observe("a", None) is False
    assert used(seen) == [1000, 0]


def test_a_claim_is_freed_exactly_once() -> None:
    one, seen = ledger()
    one.observe("a", holding("a"))
    assert [one.observe("a", None), one.observe("a", None), one.settle("a")] == [True, False, False]
    assert used(seen) == [0, 0]
    assert len(one) == 0


def test_a_new_claim_replaces_the_old_one() -> None:
    one, seen = ledger()
    one.observe("a", holding("a", claim="1"))
    assert one.observe("a", holding("a", "node-2", claim="2")) is True
    assert used(seen) == [0, 1000]


def test_a_new_assumption_replaces_the_old_one() -> None:
    one, seen = ledger()
    one.assume(holding("a", claim="1"))
    one.assume(holding("a", "node-2", claim="2"))
    assert used(seen) == [0, 1000]
    assert one.assumed("a") == "2"


def test_other_labels_are_another_place_in_the_groups() -> None:
    one, seen = ledger()
    one.observe("a", holding("a", member=Member("ns", (("app", "x"),))))
    one.observe("a", holding("a", member=Member("ns", (("app", "y"),))))
    assert list(seen.populations._by_pair) == [("app", "y")]
    assert used(seen) == [1000, 0]


def test_an_address_has_an_owner_other_than_oneself() -> None:
    one, _ = ledger()
    one.observe("a", holding("a", addresses=("10.0.0.5/24",)))
    address = ip_address("10.0.0.5")
    assert one.address_owner("lan", address, but="b") == "ns/a"
    assert one.address_owner("lan", address, but="a") is None
    assert one.address_owner("other", address, but="b") is None
    assert one.mac_owner("02:be:a", but="b") == "ns/a"
    assert one.mac_owner("02:be:a", but="a") is None
    assert one.taken_numbers("lan") == {4: {int(address)}}


def test_an_address_that_two_hold_is_taken_until_both_have_left() -> None:
    one, _ = ledger()
    for uid in "ab":
        one.observe(uid, holding(uid, addresses=("10.0.0.5/24",)))
    one.observe("a", None)
    assert list(one.taken("lan")) == [ip_address("10.0.0.5")]
    assert one.taken_numbers("lan") == {4: {int(ip_address("10.0.0.5"))}}
    one.observe("b", None)
    assert not one.taken("lan")
    assert one.taken_numbers("lan") == {4: set()}


def test_claims_on_a_node_that_is_gone_still_hold_space_on_a_shared_pool() -> None:
    seen = snapshot(node("node-1", pools={"nfs": 2 * GIB, "own": GIB}), shared=("nfs",))
    Ledger(seen).observe("a", holding("a", "gone", pools={"nfs": GIB, "own": GIB}))
    assert (seen.free_storage("nfs")[0], seen.free_storage("own")[0]) == (GIB, GIB)


def test_what_is_held_counts_when_its_node_comes() -> None:
    one, seen = ledger()
    one.observe("a", holding("a", "node-3"))
    seen.upsert(node("node-3"))
    assert used(seen) == [0, 0, 1000]
    seen.remove("node-3")
    one.observe("a", None)
    seen.upsert(node("node-3"))
    assert used(seen) == [0, 0, 0]


def test_a_new_leader_knows_only_what_the_api_shows() -> None:
    one, seen = ledger()
    one.assume(holding("a", addresses=("10.0.0.5/24",)))
    one.observe("b", holding("b"))
    one.rebuild([holding("c", "node-2")])
    assert used(seen) == [0, 1000]
    assert (one.assumed("a"), len(one), dict(one.taken("lan"))) == (None, 1, {})
    assert one.mac_owner("02:be:b", but="") is None


def bound(**status: object) -> VirtualMachine:
    claim = {"id": "c1", "epoch": 1, "cpu": "1500m", "memory": "2Gi", "storage": "1Gi"}
    pools = [{"name": "p", "size": "1Gi"}]
    return VirtualMachine.from_api(
        {
            "metadata": {"name": "a", "namespace": "ns", "uid": "u", "labels": {"app": "x"}},
            "spec": {"cpu": {"cores": 1}, "memory": {"size": "1Gi"}, "disks": []},
            "status": {"nodeName": "node-1", "claim": {**claim, "pools": pools}, **status},
        }
    )


def test_what_a_vm_holds_follows_from_its_status() -> None:
    held = held_by(bound())
    assert held == Holding("u", "ns/a", "c1", "node-1", 1500, 2 * GIB, {"p": GIB}, (), Member("ns", (("app", "x"),)))


def test_a_refused_or_released_claim_holds_nothing() -> None:
    assert held_by(bound(refusedClaim="c1")) is None
    assert held_by(bound(releasedClaim="c1")) is None
    assert held_by(bound(nodeName=None)) is None


def test_the_answer_to_an_earlier_claim_frees_nothing() -> None:
    assert held_by(bound(refusedClaim="c0", releasedClaim="c0")) is not None


def test_a_stopped_vm_keeps_all_but_its_cpu_and_memory() -> None:
    held = held_by(bound(stoppedClaim="c1"))
    assert held == Holding("u", "ns/a", "c1", "node-1", 0, 0, {"p": GIB}, (), Member("ns", (("app", "x"),)))


def test_that_an_earlier_claim_was_stopped_frees_nothing() -> None:
    held = held_by(bound(stoppedClaim="c0"))
    assert held is not None
    assert held.cpu == 1500


def test_a_holding_that_shrinks_frees_something() -> None:
    one, seen = ledger()
    one.observe("a", holding("a"))
    assert one.observe("a", holding("a", cpu=0, memory=0)) is True
    assert used(seen) == [0, 0]
    assert one.observe("a", holding("a", cpu=0, memory=0)) is False
    assert one.observe("a", holding("a")) is False
    assert used(seen) == [1000, 0]


def test_who_is_in_another_group_by_now_may_have_made_way() -> None:
    one, _ = ledger()
    one.observe("a", holding("a", member=Member("ns", (("app", "x"),))))
    assert one.observe("a", holding("a", member=Member("ns", (("app", "y"),)))) is True


def test_a_claim_in_place_of_another_on_its_node_counts_with_it_as_one() -> None:
    one, seen = ledger()
    one.observe("a", holding("a", claim="1", cpu=0, pools={"default": 2 * GIB}, addresses=("10.0.0.5/24",)))
    one.assume(holding("a", claim="2", cpu=2000, pools={"default": GIB}, addresses=("10.0.0.6/24",)))
    assert (used(seen), int(seen.slots[0] - seen.free_slots[0])) == ([2000, 0], 1)
    assert int(seen.free_storage("default")[0]) == int(snapshot(node("node-1")).free_storage("default")[0]) - 2 * GIB
    assert {str(each) for each in one.taken("lan")} == {"10.0.0.5", "10.0.0.6"}
    assert one.observe("a", holding("a", claim="2", cpu=2000, addresses=("10.0.0.6/24",))) is True
    assert one.settle("a") is False
    assert {str(each) for each in one.taken("lan")} == {"10.0.0.6"}
    assert [each.claim_id for each in one.holdings] == ["2"]


def test_a_claim_that_was_not_written_leaves_the_one_before() -> None:
    one, seen = ledger()
    one.observe("a", holding("a", claim="1", cpu=0))
    one.assume(holding("a", claim="2", cpu=2000))
    assert one.settle("a") is True
    assert (used(seen), [each.claim_id for each in one.holdings]) == ([0, 0], ["1"])


def test_one_who_holds_something_can_be_looked_past() -> None:
    one, seen = ledger()
    one.observe("a", holding("a"))
    one.observe("b", holding("b"))
    with one.without("a"):
        assert used(seen) == [1000, 0]
    assert used(seen) == [2000, 0]
