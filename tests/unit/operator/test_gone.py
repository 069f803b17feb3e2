"""A 410 Gone, and objects that vanished before anybody was told: nothing half-taken, and their room is used again."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from tests.fakes.watching import Scripted
from tests.unit.operator.worlds import World, vm_body

from berth_api import kinds
from berth_api.client import Gone, ObjectList, Reflector
from berth_api.kinds import Kind

pytestmark = pytest.mark.looptime
EXPIRED = Gone(410, "Expired", "too old resource version: 1 (2)")
HALF: dict[str, Any] = {"cpu": {"cores": 9}}
"""More than half of a node's 16 CPUs after overcommit: two do not fit."""


async def crowded(**settings: Any) -> World:
    """A node that is full, and a VM that waits for what is on it."""
    world = World(**settings)
    world.furnish()
    world.add_node("node-1")
    world.add_vm("first", **HALF)
    return world


async def test_an_audit_that_meets_a_410_takes_in_nothing_and_the_next_one_all() -> None:
    world = await crowded(audit_interval=300.0, heartbeat_timeout=1e6)
    async with world.leading():
        world.add_vm("second", **HALF)
        await world.settle()
        assert world.why("second")[0] == "Unschedulable"
        world.api.remove(kinds.VIRTUAL_MACHINE, "first", "default")
        world.api.remove(kinds.HYPERVISOR, "node-1")
        world.add_node("node-2")
        world.api.fail(EXPIRED, verb="list", kind=kinds.LEASE)
        await asyncio.sleep(300)
        assert [holding.owner for holding in world.operation.ledger.holdings] == ["default/first"]
        assert world.operation.cluster.hypervisors.get("node-1") is not None
        assert world.vm("second").status.node_name is None
        await asyncio.sleep(300)
        assert [holding.owner for holding in world.operation.ledger.holdings] == ["default/second"]
        assert world.vm("second").status.node_name == "node-2"


async def test_a_new_leader_that_meets_a_410_decides_nothing_before_it_has_listed_all() -> None:
    world = await crowded()
    world.api.fail(EXPIRED, verb="list", kind=kinds.VIRTUAL_MACHINE, times=3)
    async with world.leading():
        await asyncio.sleep(30)
        assert world.vm("first").status.node_name == "node-1"
        assert len(world.operation.ledger) == 1


class _Forgetful(Scripted):
    """A watch that the server ends with a 410, after which it lists what there really is."""

    def __init__(self, world: World) -> None:
        super().__init__(watches=[[1.0, EXPIRED]])
        self._world = world

    async def list(self, kind: Kind, namespace: str = "", **options: Any) -> ObjectList:
        return await self._world.api.list(kind, namespace, **options)


async def test_the_room_of_a_vm_that_vanished_during_a_410_of_its_watch_is_used_without_an_audit() -> None:
    world = await crowded(audit_interval=1e6, heartbeat_timeout=1e6)
    async with world.leading():
        world.add_vm("second", **HALF)
        await world.settle()
        machines = world.operation.cluster.machines
        following = asyncio.create_task(Reflector(_Forgetful(world), kinds.VIRTUAL_MACHINE, machines).run())
        await asyncio.sleep(0.5)
        world.api.remove(kinds.VIRTUAL_MACHINE, "first", "default")
        await asyncio.sleep(0.4)
        assert len(world.operation.ledger) == 1
        await asyncio.sleep(5)
        assert [holding.owner for holding in world.operation.ledger.holdings] == ["default/second"]
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def test_a_vm_that_went_before_its_binding_was_written_costs_neither_room_nor_alarm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(audit_interval=300.0, heartbeat_timeout=1e6)
    world.furnish()
    world.add_node("node-1")
    async with world.leading():
        world.add_vm("ghost", **HALF)
        body = world.api.peek(kinds.VIRTUAL_MACHINE, "ghost", "default")
        assert body is not None
        world.api.remove(kinds.VIRTUAL_MACHINE, "ghost", "default")
        world.operation.cluster.machines.upsert(body)
        await asyncio.sleep(1)
        assert {call.name for call in world.status_writes()} == {"ghost"}
        assert caplog.records == []
        later = world.api.add(kinds.VIRTUAL_MACHINE, vm_body("later", **HALF))
        world.operation.cluster.machines.upsert(later)
        await asyncio.sleep(1)
        assert world.vm("later").status.node_name == "node-1"
        await asyncio.sleep(300)
        assert len(world.operation.scheduler.queue) == 0
        assert [holding.owner for holding in world.operation.ledger.holdings] == ["default/later"]
