"""Writes that fail or get lost, nodes that refuse, terms that end: nothing is claimed twice, nothing is forgotten."""

import asyncio
from typing import Any

import pytest
from tests.unit.operator.worlds import World, vm_body

from berth_api import kinds
from berth_api.client import Conflict, DeadlineExceeded, Forbidden, Unavailable
from berth_api.fields import FINALIZER
from berth_operator.controllers import finalizers
from berth_operator.scheduling.entries import State

pytestmark = pytest.mark.looptime
MIB = 1024**2


async def furnished(**settings: Any) -> World:
    world = World(**settings)
    world.furnish()
    return world


async def test_a_refused_write_gives_back_what_was_claimed_for_it() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("web")
    world.api.fail(Forbidden(403, "Forbidden", "no"), verb="apply", kind=kinds.VIRTUAL_MACHINE, times=1000)
    async with world.leading():
        assert len(world.operation.ledger) == 0
        assert world.operation.scheduler.queue.sizes()[State.BACKOFF] == 1


@pytest.mark.parametrize("error", [DeadlineExceeded(0, "", "too slow"), Unavailable(0, "", "connection reset")])
async def test_a_write_of_unknown_outcome_that_was_done_is_found_and_not_repeated(error: Exception) -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("web")
    world.api.fail(error, verb="apply", kind=kinds.VIRTUAL_MACHINE, after=True)
    async with world.leading():
        assert world.vm("web").status.node_name == "node-1"
        assert len(world.status_writes()) == 1
        assert len(world.operation.ledger) == 1


async def test_a_write_of_unknown_outcome_that_was_not_done_counts_until_that_is_known_and_is_repeated() -> None:
    world = await furnished(backoff_first=1.0)
    world.add_node("node-1")
    world.add_vm("web")
    world.api.fail(Unavailable(0, "", "connection reset"), verb="apply", kind=kinds.VIRTUAL_MACHINE)
    world.api.fail(Unavailable(0, "", "still away"), verb="get", kind=kinds.VIRTUAL_MACHINE, times=2)
    async with world.leading():
        assert len(world.operation.ledger) == 1
        assert world.vm("web").status.node_name is None
        await world.settle(20)
        assert world.vm("web").status.node_name == "node-1"
        assert len(world.operation.ledger) == 1


async def test_a_term_that_is_over_writes_nothing_more() -> None:
    world = await furnished()
    world.add_node("node-1")
    async with world.leading():
        world.leadership.until = world.loop.time() - 1
        world.add_vm("web")
        world.add_vm("lost", networks=[{"name": "nic", "networkName": "none"}])
        before = len(world.api.writes)
        await world.settle(30)
        assert [call for call in world.api.writes[before:] if call.kind == "VirtualMachine"] == []


async def test_a_vm_keeps_its_mac_and_address_when_its_node_refuses_it() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_node("node-2")
    world.add_vm("other")
    world.add_vm("web")
    async with world.leading():
        first = world.vm("web").status
        assert first.claim is not None
        await world.agent("web", refusedClaim=first.claim.id, phase="Scheduled")
        await world.settle(0.5)
        second = world.vm("web").status
        assert second.claim is not None
        assert second.node_name != first.node_name
        assert second.claim.id != first.claim.id
        assert second.claim.interfaces == first.claim.interfaces
        assert len(world.operation.ledger) == 2


async def test_a_vm_that_every_node_refused_waits_unbound_and_asks_again_later() -> None:
    world = await furnished(refusal_exclusion=60.0)
    world.add_node("node-1")
    world.add_vm("web")
    async with world.leading():
        first = world.vm("web").status
        assert first.claim is not None
        await world.agent("web", refusedClaim=first.claim.id, phase="Starting")
        await world.settle(1)
        vm = world.vm("web")
        assert (vm.status.node_name, vm.status.claim, vm.status.phase) == (None, None, "Unschedulable")
        assert "1 refused this VM lately" in world.why("web")[1]
        assert len(world.operation.ledger) == 0
        for _ in range(2):
            await world.beat("node-1")
            await world.settle(30.5)
        assert world.vm("web").status.node_name == "node-1"


async def test_no_agent_of_a_vm_that_is_being_deleted_is_bothered() -> None:
    world = await furnished()
    world.add_node("node-1")
    body = vm_body("web", finalizers=(FINALIZER, "example.com/mine"))
    body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.api.add(kinds.VIRTUAL_MACHINE, body)
    async with world.leading():
        vm = world.vm("web")
        assert vm.metadata.finalizers == ("example.com/mine",)
        assert vm.status.node_name is None


async def test_the_finalizer_stays_until_the_node_has_released_the_claim() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("web")
    async with world.leading():
        claim = world.vm("web").status.claim
        assert claim is not None
        await world.agent("web", admittedClaim=claim.id, phase="Running")
        await world.api.delete(kinds.VIRTUAL_MACHINE, "web", "default")
        await world.settle(100)
        assert FINALIZER in world.vm("web").metadata.finalizers
        assert len(world.operation.ledger) == 1
        await world.agent("web", admittedClaim=claim.id, phase="Terminating", releasedClaim="another")
        await world.settle(100)
        assert FINALIZER in world.vm("web").metadata.finalizers
        await world.agent("web", admittedClaim=claim.id, phase="Terminating", releasedClaim=claim.id)
        await world.settle()
        assert world.api.peek(kinds.VIRTUAL_MACHINE, "web", "default") is None
        assert len(world.operation.ledger) == 0


async def test_a_new_leader_has_the_same_ledger_and_gives_no_address_twice() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_node("node-2")
    for number in range(5):
        world.add_vm(f"vm-{number}")
    async with world.leading():
        before = sorted((one.uid, one.claim_id, one.node) for one in world.operation.ledger.holdings)
    world.operation = world.new_operation()
    async with world.leading():
        after = sorted((one.uid, one.claim_id, one.node) for one in world.operation.ledger.holdings)
        assert after == before
        world.add_vm("late")
        await world.settle()
        addresses = [address for one in world.operation.ledger.holdings for address in one.addresses]
        assert len(set(addresses)) == len(addresses) == 6


async def test_a_new_term_of_the_same_process_starts_from_what_the_server_shows() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("web")
    world.api.fail(Unavailable(0, "", "connection reset"), verb="apply", kind=kinds.VIRTUAL_MACHINE)
    world.api.fail(Unavailable(0, "", "away"), verb="get", kind=kinds.VIRTUAL_MACHINE, times=1000)
    async with world.leading():
        assert len(world.operation.ledger) == 1
        assert world.vm("web").status.node_name is None
    async with world.leading():
        assert world.vm("web").status.node_name == "node-1"
        assert len(world.operation.ledger) == 1


async def test_the_finalizer_is_dropped_only_from_the_state_that_was_looked_at() -> None:
    world = await furnished()
    body = vm_body("web")
    body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.api.add(kinds.VIRTUAL_MACHINE, body)
    seen = world.vm("web")
    await world.agent("web", phase="Running")
    with pytest.raises(Conflict):
        await finalizers.drop(world.api, seen)
    assert world.vm("web").metadata.finalizers == (FINALIZER,)
    await finalizers.drop(world.api, world.vm("web"))
    assert world.api.peek(kinds.VIRTUAL_MACHINE, "web", "default") is None


async def test_nothing_is_decided_before_everything_was_read() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_vm("web")
    world.api.fail(Unavailable(503, "", "starting"), verb="list", kind=kinds.HYPERVISOR, times=2)
    async with world.leading():
        first_write = next(index for index, call in enumerate(world.api.calls) if call.is_write)
        lists = [index for index, call in enumerate(world.api.calls) if call.verb == "list"]
        assert lists[-1] < first_write
        assert world.vm("web").status.node_name == "node-1"


async def test_who_only_stands_by_collects_no_work() -> None:
    world = await furnished()
    world.add_node("node-1")
    for number in range(5):
        world.add_vm(f"vm-{number}")
    await world.settle()
    assert len(world.operation.queue) == 0
    assert world.api.writes == []
    async with world.leading():
        assert world.vm("vm-4").status.node_name == "node-1"


async def test_the_audit_repairs_what_a_watch_missed() -> None:
    world = await furnished(audit_interval=300.0)
    world.add_node("node-1")
    world.add_vm("web")
    async with world.leading():
        assert len(world.operation.ledger) == 1
        world.api.remove(kinds.VIRTUAL_MACHINE, "web", "default")
        await asyncio.sleep(301)
        assert len(world.operation.ledger) == 0
