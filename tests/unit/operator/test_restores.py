"""VMs from a back-up: a status of another object binds nothing, and a guest that is still there is not made twice."""

from typing import Any

import pytest
from tests.unit.operator.backups import VELERO, add_vm, annotate, furnished, report, restored
from tests.unit.operator.worlds import World, hypervisor_status, vm_body

from berth_api import kinds
from berth_api.client import Conflict
from berth_api.fields import ADOPT

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("strategy", ["Always", "Once", "RerunOnFailure"])
async def test_a_restored_binding_counts_for_nothing_and_the_vm_is_placed_anew(strategy: str) -> None:
    world = furnished()
    world.api.add(kinds.VIRTUAL_MACHINE, restored("web", uid="another", run_strategy=strategy))
    async with world.leading():
        await world.settle()
        status = world.vm("web").status
        assert status.claim is not None
        assert (status.claim.machine_uid, status.claim.epoch) == (world.vm("web").metadata.uid, 7)
        assert status.claim.id != "old-claim"
        assert (status.admitted_claim, status.started_at, status.restart_count) == (None, None, None)
        assert status.phase == "Scheduled"
        assert len(world.operation.ledger) == 1


async def test_a_restored_one_that_is_halted_stays_off_and_holds_nothing() -> None:
    world = furnished()
    world.api.add(kinds.VIRTUAL_MACHINE, restored("web", uid="another", run_strategy="Halted"))
    async with world.leading():
        await world.settle()
        status = world.vm("web").status
        assert (status.claim, status.node_name, status.phase) == (None, None, "Stopped")
        assert status.started_at is None


async def test_a_restored_one_that_is_deleted_at_once_waits_for_no_agent() -> None:
    world = furnished()
    body = restored("web", uid="another")
    body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.api.add(kinds.VIRTUAL_MACHINE, body)
    async with world.leading():
        await world.settle()
        assert world.api.peek(kinds.VIRTUAL_MACHINE, "web", "default") is None


async def test_a_claim_that_an_older_berth_wrote_stands() -> None:
    """Upgrading Berth disturbs no guest."""
    world = furnished()
    world.api.add(kinds.VIRTUAL_MACHINE, restored("web", uid=None))
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.claim is not None
        assert world.vm("web").status.started_at is not None
        assert len(world.operation.ledger) == 1


async def test_a_status_that_changed_meanwhile_is_looked_at_again() -> None:
    world = furnished()
    world.api.add(kinds.VIRTUAL_MACHINE, restored("web", uid="another"))
    world.api.fail(Conflict(409, "", "changed"), verb="patch_json", kind=kinds.VIRTUAL_MACHINE)
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.phase == "Scheduled"


async def test_a_vm_goes_where_its_guest_already_is() -> None:
    world = furnished()
    for number in range(6):
        node = f"node-{number % 2 + 1}"
        add_vm(world, f"vm-{number}")
        names = [f"vm-{n}" for n in range(6) if n % 2 == number % 2]
        await report(world, node, *names)
    async with world.leading():
        await world.settle()
        for number in range(6):
            status = world.vm(f"vm-{number}").status
            assert status.claim is not None
            assert (status.node_name, status.claim.adopts) == (f"node-{number % 2 + 1}", f"uid-of-old-vm-{number}")


async def test_it_waits_for_room_there_rather_than_run_twice() -> None:
    world = furnished()
    await report(world, "node-2", "web")
    add_vm(world, "web", memory={"size": "6Gi"})
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.node_name is None
        assert "memory" in world.why("web")[1]
        await report(world, "node-2")
        body = world.api.peek(kinds.HYPERVISOR, "node-1")
        assert body is not None
        body["status"]["capacity"]["memory"] = "16Gi"
        await world.api.update(kinds.HYPERVISOR, "node-1", "", body, "status")
        await world.settle()
        status = world.vm("web").status
        assert status.claim is not None
        assert (status.node_name, status.claim.adopts) == ("node-1", None)


async def test_where_two_nodes_hold_it_nobody_guesses() -> None:
    world = furnished()
    await report(world, "node-1", "web")
    await report(world, "node-2", "web")
    add_vm(world, "web")
    async with world.leading():
        await world.settle()
        assert world.why("web")[0] == "HeldTwice"
        await report(world, "node-1")
        await world.settle()
        assert world.vm("web").status.node_name == "node-2"


async def test_a_pin_to_another_node_does_not_make_a_second_guest() -> None:
    world = furnished()
    await report(world, "node-1", "web")
    add_vm(world, "web", nodeName="node-2")
    async with world.leading():
        await world.settle()
        assert world.why("web")[0] == "HeldElsewhere"
        assert world.vm("web").status.node_name is None


@pytest.mark.parametrize("agreed", [None, "", "node-1"])
async def test_nobody_is_drawn_to_a_node_by_what_it_says_nor_runs_twice(agreed: str | None) -> None:
    world = furnished()
    await report(world, "node-2", "web")
    world.add_vm("other")
    if agreed is None:
        world.add_vm("web")
    else:
        add_vm(world, "web", agreed)
    async with world.leading():
        await world.settle()
        assert world.vm("other").status.node_name is not None
        assert world.vm("web").status.node_name is None
        reason, message = world.why("web")
        assert reason == "Held"
        assert "node-2 (uid-of-old-web)" in message
        await annotate(world, "web", "node-2")
        await world.settle()
        status = world.vm("web").status
        assert status.claim is not None
        assert (status.node_name, status.claim.adopts) == ("node-2", "uid-of-old-web")


async def test_who_wants_it_anew_has_it_anew() -> None:
    world = furnished()
    await report(world, "node-2", "web")
    body = vm_body("web", nodeName="node-1")
    body["metadata"]["annotations"], body["metadata"]["labels"] = {ADOPT: "never"}, VELERO
    world.api.add(kinds.VIRTUAL_MACHINE, body)
    async with world.leading():
        await world.settle()
        status = world.vm("web").status
        assert status.claim is not None
        assert (status.node_name, status.claim.adopts) == ("node-1", None)


async def test_a_guest_that_is_ended_on_its_node_holds_up_nobody() -> None:
    world = furnished()
    await report(world, "node-2", "web")
    world.add_vm("web")
    async with world.leading():
        await world.settle()
        assert world.why("web")[0] == "Held"
        await report(world, "node-2")
        await world.settle()
        assert world.vm("web").status.node_name is not None


@pytest.mark.parametrize("label", ["velero.io/restore-name", "velero.io/backup-name"])
async def test_what_velero_restores_is_content_with_its_guest(label: str) -> None:
    world = furnished()
    await report(world, "node-2", "web")
    body = vm_body("web")
    body["metadata"]["labels"] = {label: "nightly-1"}
    world.api.add(kinds.VIRTUAL_MACHINE, body)
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.node_name == "node-2"


async def test_what_was_restored_with_its_status_is_content_with_the_guest_of_that_object_only() -> None:
    world = furnished()
    await report(world, "node-2", "web", "db")
    world.api.add(kinds.VIRTUAL_MACHINE, restored("web", uid="uid-of-old-web"))
    world.api.add(kinds.VIRTUAL_MACHINE, restored("db", uid="another"))
    async with world.leading():
        await world.settle()
        status = world.vm("web").status
        assert status.claim is not None
        assert (status.node_name, status.claim.adopts) == ("node-2", "uid-of-old-web")
        assert world.why("db")[0] == "Held"


async def test_of_two_guests_of_its_name_it_has_the_one_of_the_object_that_was_backed_up() -> None:
    world = furnished()
    await report(world, "node-1", "web")
    body = world.api.peek(kinds.HYPERVISOR, "node-2")
    assert body is not None
    body["status"] = hypervisor_status(remains=[{"namespace": "default", "name": "web", "uid": "another"}])
    await world.api.update(kinds.HYPERVISOR, "node-2", "", body, "status")
    one = restored("web", uid="another")
    one["metadata"]["labels"] = VELERO
    world.api.add(kinds.VIRTUAL_MACHINE, one)
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.node_name == "node-2"


@pytest.mark.parametrize("joins", [True, False])
async def test_it_waits_for_the_first_report_of_the_node_that_it_was_on(joins: bool) -> None:
    """What is on a node that nobody has heard of yet may be its guest; once it is told, that is clear."""
    world = furnished()
    hypervisor = world.api.peek(kinds.HYPERVISOR, "node-2")
    assert hypervisor is not None
    del hypervisor["status"]["remains"]
    world.api.remove(kinds.HYPERVISOR, "node-2")
    world.api.add(kinds.VIRTUAL_MACHINE, restored("web", uid="uid-of-old-web", nodeName="node-2"))
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.former_node_name == "node-2"
        reason, message = world.why("web")
        assert reason == "HolderSilent"
        assert "node-2" in message
        if not joins:
            await world.api.delete(kinds.NODE, "node-2")
            await report(world, "node-1", "another")
            await world.settle()
            assert world.vm("web").status.node_name == "node-1"
            return
        world.api.add(kinds.HYPERVISOR, {**hypervisor, "metadata": {"name": "node-2"}})
        await world.beat("node-2")
        await world.settle()
        assert world.why("web")[0] == "HolderSilent", "it has not told of that yet"
        await report(world, "node-2", "web")
        await world.settle()
        assert world.vm("web").status.node_name == "node-2"


async def test_it_goes_anywhere_once_the_node_that_it_was_on_has_nothing_of_it() -> None:
    world = furnished()
    hypervisor = world.api.peek(kinds.HYPERVISOR, "node-2")
    assert hypervisor is not None
    del hypervisor["status"]["remains"]
    await world.api.update(kinds.HYPERVISOR, "node-2", "", hypervisor, "status")
    world.api.add(kinds.VIRTUAL_MACHINE, restored("web", uid="uid-of-old-web", nodeName="node-2"))
    async with world.leading():
        await world.settle()
        assert world.why("web")[0] == "HolderSilent"
        await report(world, "node-2")
        await world.settle()
        assert world.vm("web").status.node_name is not None


async def test_one_that_is_halted_goes_where_its_disks_are_and_stays_off() -> None:
    """Or nobody would take them down when it is deleted."""
    world = furnished()
    await report(world, "node-2", "web", pools=[{"name": "default", "size": "1Gi"}])
    add_vm(world, "web", runStrategy="Halted")
    world.add_vm("other", runStrategy="Halted")
    await report(world, "node-1", "other")
    async with world.leading():
        await world.settle()
        status = world.vm("web").status
        assert status.claim is not None
        assert (status.node_name, status.claim.adopts) == ("node-2", "uid-of-old-web")
        assert (world.vm("other").status.node_name, world.vm("other").status.phase) == (None, "Stopped")
        await world.agent("web", stoppedClaim=status.claim.id, phase="Stopped")
        await world.settle()
        assert world.vm("web").status.phase == "Stopped"


async def test_it_waits_for_a_node_that_is_silent_rather_than_run_twice() -> None:
    world = furnished()
    await report(world, "node-2", "web")
    async with world.leading():
        await world.settle(60)
        await world.beat("node-1")
        add_vm(world, "web")
        await world.settle()
        assert world.vm("web").status.node_name is None
        await world.beat("node-2")
        await world.settle()
        assert world.vm("web").status.node_name == "node-2"


async def test_of_two_nodes_that_hold_it_the_one_that_is_named_has_it() -> None:
    world = furnished()
    await report(world, "node-1", "web")
    await report(world, "node-2", "web")
    add_vm(world, "web", "node-2")
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.node_name == "node-2"


async def test_what_a_guest_uses_that_nobody_accounts_for_is_given_to_nobody_but_the_vm_that_adopts_it() -> None:
    world = furnished()
    for node in ("node-1", "node-2"):
        await report(world, node, f"on-{node}", cpu="1", memory="3Gi")
    world.add_vm("stranger", memory={"size": "2Gi"})
    add_vm(world, "on-node-1", memory={"size": "2Gi"})
    async with world.leading():
        await world.settle()
        assert world.vm("on-node-1").status.node_name == "node-1"
        assert world.vm("stranger").status.node_name is None
        assert "memory" in world.why("stranger")[1]
        await report(world, "node-2")
        await world.settle()
        assert world.vm("stranger").status.node_name == "node-2"


GUESTS_NIC = {"name": "nic", "networkName": "lan", "macAddress": "02:be:00:00:00:77", "ipAddresses": ["10.7.0.77"]}


def nic_of(world: World, name: str) -> tuple[str, tuple[str, ...]]:
    claim = world.vm(name).status.claim
    assert claim is not None, world.why(name)
    (nic,) = claim.interfaces
    return nic.mac_address, nic.ip_addresses


async def test_it_keeps_the_addresses_that_its_guest_has() -> None:
    world = furnished()
    await report(world, "node-2", "web", interfaces=[GUESTS_NIC])
    add_vm(world, "web")
    async with world.leading():
        await world.settle()
        assert nic_of(world, "web") == ("02:be:00:00:00:77", ("10.7.0.77/24",))


async def test_what_its_spec_fixes_comes_before_what_its_guest_has() -> None:
    world = furnished()
    await report(world, "node-2", "web", interfaces=[GUESTS_NIC])
    fixed = {"macAddress": "02:be:00:00:00:01", "ipAddresses": ["10.7.0.5"]}
    add_vm(world, "web", networks=[{"name": "nic", "networkName": "lan", **fixed}])
    async with world.leading():
        await world.settle()
        assert nic_of(world, "web") == ("02:be:00:00:00:01", ("10.7.0.5/24",))


@pytest.mark.parametrize("held", ["macAddress", "ipAddresses"])
async def test_what_another_vm_asks_for_is_not_its_guests_to_have(held: str) -> None:
    """Whether that one has it already, or waits for room itself: an agent's word takes nothing from anybody."""
    world = furnished()
    await report(world, "node-2", "web", interfaces=[GUESTS_NIC])
    add_vm(world, "web")
    world.add_vm(
        "db", memory={"size": "64Gi"}, networks=[{"name": "nic", "networkName": "lan", held: GUESTS_NIC[held]}]
    )
    async with world.leading():
        await world.settle()
        reason, message = world.why("web")
        assert reason == {"macAddress": "MacAddressInUse", "ipAddresses": "AddressInUse"}[held]
        assert "default/db" in message
        await world.api.delete(kinds.VIRTUAL_MACHINE, "db", "default")
        await world.settle()
        await report(world, "node-2", "web", interfaces=[GUESTS_NIC], cpu="1")
        await world.settle()
        assert world.vm("web").status.node_name == "node-2"


@pytest.mark.parametrize(
    "nic",
    [
        {**GUESTS_NIC, "ipAddresses": ["10.8.0.1"]},
        {**GUESTS_NIC, "ipAddresses": ["10.7.0.1"]},
        {**GUESTS_NIC, "ipAddresses": ["nonsense"]},
        {**GUESTS_NIC, "ipAddresses": []},
        {**GUESTS_NIC, "networkName": "gone"},
        {**GUESTS_NIC, "name": "gone"},
    ],
    ids=["of another subnet", "the gateway", "no address", "none", "of another network", "of another NIC"],
)
async def test_what_its_network_does_not_give_it_does_not_have(nic: dict[str, Any]) -> None:
    world = furnished()
    await report(world, "node-2", "web", interfaces=[nic])
    add_vm(world, "web")
    async with world.leading():
        await world.settle()
        assert nic_of(world, "web")[1] == ("10.7.0.2/24",)


async def test_an_agent_names_no_address_outside_of_what_a_subnet_hands_out() -> None:
    world = furnished()
    body = world.api.peek(kinds.VIRTUAL_NETWORK, "lan")
    assert body is not None
    body["spec"]["subnets"][0]["range"] = {"start": "10.7.0.10", "end": "10.7.0.20"}
    await world.api.update(kinds.VIRTUAL_NETWORK, "lan", "", body)
    await report(world, "node-2", "web", interfaces=[GUESTS_NIC])
    add_vm(world, "web")
    async with world.leading():
        await world.settle()
        assert nic_of(world, "web")[1] == ("10.7.0.10/24",)


async def test_what_a_guest_has_is_the_last_that_others_are_given_but_they_are() -> None:
    """Nobody has agreed to what the agent says of `stranger`: it denies nobody an address."""
    world = World()
    world.furnish(cidr="10.7.0.0/29")
    world.add_node("node-1")
    addresses = ["10.7.0.2", "10.7.0.4", "10.7.0.5"]
    await report(world, "node-1", "stranger", interfaces=[{**GUESTS_NIC, "ipAddresses": addresses}])
    for number in range(5):
        world.add_vm(f"vm-{number}")
    async with world.leading():
        await world.settle()
        given = {number: nic_of(world, f"vm-{number}")[1][0].split("/")[0] for number in range(5)}
        assert set(given.values()) == {f"10.7.0.{last}" for last in range(2, 7)}
        assert sorted(given.values(), key=list(given.values()).index)[:2] == ["10.7.0.3", "10.7.0.6"]


async def test_the_disks_of_a_guest_are_room_that_nobody_else_is_given() -> None:
    world = furnished()
    taken = {"pools": [{"name": "default", "size": "95Gi"}]}
    await report(world, "node-1", "web", **taken)
    await report(world, "node-2", "db", **taken)
    big = [{"name": "root", "size": "10Gi"}]
    world.add_vm("stranger", disks=big)
    add_vm(world, "web", disks=[{"name": "root", "size": "95Gi"}])
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.node_name == "node-1"
        assert world.vm("stranger").status.node_name is None
        assert "storage" in world.why("stranger")[1]
        await report(world, "node-2")
        await world.settle()
        assert world.vm("stranger").status.node_name == "node-2"


async def test_of_a_shared_pool_it_is_room_on_the_node_that_says_so_only() -> None:
    world = furnished()
    body = world.api.peek(kinds.STORAGE_POOL, "default")
    assert body is not None
    body["spec"]["shared"] = True
    await world.api.update(kinds.STORAGE_POOL, "default", "", body)
    await report(world, "node-1", "web", pools=[{"name": "default", "size": "1000Gi"}])
    for number in range(4):
        world.add_vm(f"vm-{number}")
    async with world.leading():
        await world.settle()
        assert {world.vm(f"vm-{number}").status.node_name for number in range(4)} == {"node-2"}
