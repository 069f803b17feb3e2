"""VMs from a back-up: a status of another object binds nothing, and a guest that is still there is not made twice."""

from typing import Any

import pytest
from tests.unit.operator.worlds import World, hypervisor_status, vm_body

from berth_api import kinds
from berth_api.client import Conflict
from berth_api.fields import ADOPT

pytestmark = pytest.mark.looptime


def restored(name: str, *, uid: str | None, run_strategy: str = "Always", **more: Any) -> dict[str, Any]:
    """A VM as a back-up tool makes it that restores statuses: a new object with an old one's status."""
    claim = {
        "id": "old-claim",
        "epoch": 99,
        "cpu": "4",
        "memory": "4Gi",
        "storage": "1Gi",
        "pools": [{"name": "default", "size": "1Gi"}],
        "interfaces": [],
    }
    status = {
        "nodeName": "node-1",
        "claim": claim | ({"virtualMachineUID": uid} if uid else {}),
        "admittedClaim": "old-claim",
        "phase": "Running",
        "startedAt": "2025-01-01T00:00:00Z",
        "restartCount": 7,
        **more,
    }
    return {**vm_body(name, runStrategy=run_strategy), "status": status}


def furnished() -> World:
    """Two nodes."""
    one = World()
    one.furnish()
    one.add_node("node-1")
    one.add_node("node-2")
    return one


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


def remains(*names: str, **used: str) -> list[dict[str, str]]:
    return [{"namespace": "default", "name": name, "uid": f"uid-of-old-{name}", **used} for name in names]


def add_vm(world: World, name: str, agreed: str = "*", **spec: Any) -> None:
    """A VM whose owner agrees to what nodes say that they hold of it."""
    body = vm_body(name, **spec)
    body["metadata"]["annotations"] = {ADOPT: agreed}
    world.api.add(kinds.VIRTUAL_MACHINE, body)


async def report(world: World, node: str, *names: str, **used: str) -> None:
    body = world.api.peek(kinds.HYPERVISOR, node)
    assert body is not None
    body["status"] = hypervisor_status(remains=remains(*names, **used))
    await world.api.update(kinds.HYPERVISOR, node, "", body, "status")


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
async def test_an_agent_cannot_draw_a_vm_to_its_node_by_what_it_says(agreed: str | None) -> None:
    world = furnished()
    await report(world, "node-2", *(f"vm-{number}" for number in range(4)), "web")
    for number in range(4):
        world.add_vm(f"vm-{number}")
    if agreed is None:
        world.add_vm("web")
    else:
        add_vm(world, "web", agreed)
    async with world.leading():
        await world.settle()
        statuses = [world.vm(name).status for name in ("web", *(f"vm-{number}" for number in range(4)))]
        assert all(status.claim is not None and status.claim.adopts is None for status in statuses)
        assert {status.node_name for status in statuses} == {"node-1", "node-2"}, "as if nothing had been said"


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
