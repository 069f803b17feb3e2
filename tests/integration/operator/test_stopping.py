"""VMs that are stopped and started, resized, and whose node is gone: the real API server, the real operator."""

import asyncio
from typing import Any

import pytest
from tests.integration.operator.waiting import eventually
from tests.integration.operator.worlds import World, scheduled

from berth_api import kinds
from berth_api.kinds import VIRTUAL_MACHINE
from berth_dev.hollow.nodes import HollowNodes
from berth_dev.hollow.options import Faults, HollowOptions, Shape

pytestmark = pytest.mark.integration
CALM = {"lease_duration": "15", "lease_renew_deadline": "10"}
OPTIONS = HollowOptions(
    count=1,
    shape=Shape(cpu="16", memory="4Gi", pool_size="10Gi", accelerator="tcg", networks=("lan",)),
    heartbeat_interval=0.5,
)
HALF: dict[str, Any] = {"memory": {"size": "1300Mi"}}
"""Room for two such VMs."""


async def patch(world: World, name: str, path: str, value: Any) -> None:
    await world.api.patch_json(VIRTUAL_MACHINE, name, "default", [{"op": "add", "path": path, "value": value}])


async def set_strategy(world: World, name: str, strategy: str) -> None:
    await patch(world, name, "/spec/runStrategy", strategy)


async def in_phase(world: World, name: str, phase: str) -> dict[str, Any]:
    """The VM, once it is in the phase."""

    async def probe() -> dict[str, Any] | None:
        vm = await world.vm(name)
        return vm if vm.get("status", {}).get("phase") == phase else None

    return await eventually(probe, 30)  # type: ignore[no-any-return]


async def because(world: World, name: str, reason: str) -> dict[str, Any]:
    """The VM, once its condition Scheduled has this reason."""

    async def probe() -> dict[str, Any] | None:
        vm = await world.vm(name)
        condition = scheduled(vm)
        return vm if condition and condition["reason"] == reason else None

    return await eventually(probe, 30)  # type: ignore[no-any-return]


async def test_stopping_makes_room_and_starting_waits_for_it(world: World) -> None:
    async with world.operator(**CALM), HollowNodes(world.api, OPTIONS) as nodes:
        for name in ("one", "two"):
            await world.create_vm(name, **HALF)
            await in_phase(world, name, "Running")
        await world.create_vm("three", **HALF)
        await in_phase(world, "three", "Unschedulable")

        await set_strategy(world, "one", "Halted")
        stopped = await in_phase(world, "one", "Stopped")
        assert stopped["status"]["stoppedClaim"] == stopped["status"]["claim"]["id"]
        await in_phase(world, "three", "Running")

        await set_strategy(world, "one", "Always")
        waiting = await because(world, "one", "StartPending")
        condition = scheduled(waiting)
        assert condition is not None
        assert (condition["status"], waiting["status"]["phase"]) == ("True", "Stopped")
        assert condition["message"].startswith("0/1 nodes: 1 lacks memory (closest: ")
        assert waiting["status"]["claim"] == stopped["status"]["claim"]

        await world.api.delete(VIRTUAL_MACHINE, "two", "default")
        running = await in_phase(world, "one", "Running")
        assert running["status"]["claim"]["id"] != stopped["status"]["claim"]["id"]
        assert running["status"]["claim"]["interfaces"] == stopped["status"]["claim"]["interfaces"]
        assert running["status"]["nodeName"] == stopped["status"]["nodeName"]
        assert (await because(world, "one", "Bound"))["status"]["phase"] == "Running"
        assert (nodes.report.over_capacity, nodes.report.refused) == (0, {})
        assert nodes.report.stopped == 1


async def test_a_start_that_the_node_refuses_is_tried_again_and_the_vm_stays(world: World) -> None:
    async with world.operator(start_backoff_first="0.5", **CALM), HollowNodes(world.api, OPTIONS) as nodes:
        await world.create_vm("web", **HALF)
        await in_phase(world, "web", "Running")
        await set_strategy(world, "web", "Halted")
        await in_phase(world, "web", "Stopped")
        nodes.faults = Faults(refusing=frozenset(OPTIONS.names))
        await set_strategy(world, "web", "Always")

        async def refused_twice() -> bool:
            return nodes.report.refused.get("Injected", 0) >= 2

        await eventually(refused_twice, 30)
        nodes.faults = Faults()
        vm = await in_phase(world, "web", "Running")
        assert vm["status"]["nodeName"] == OPTIONS.names[0]


async def test_a_vm_grows_when_there_is_room_and_shrinks_when_the_guest_has(world: World) -> None:
    async with world.operator(**CALM), HollowNodes(world.api, OPTIONS) as nodes:
        for name in ("web", "db"):
            await world.create_vm(name, **HALF)
            await in_phase(world, name, "Running")
        before = await world.vm("web")
        await patch(world, "web", "/spec/memory/size", "2Gi")
        waiting = await because(world, "web", "ResizePending")
        assert waiting["status"]["claim"] == before["status"]["claim"]
        await set_strategy(world, "db", "Halted")
        grown = await because(world, "web", "Bound")
        assert grown["status"]["claim"]["memory"] != before["status"]["claim"]["memory"]

        await patch(world, "web", "/spec/memory/size", "1300Mi")

        async def shrunk() -> bool:
            status = (await world.vm("web"))["status"]
            same = status["claim"]["memory"] == before["status"]["claim"]["memory"]
            return bool(same and status["admittedClaim"] == status["claim"]["id"])

        await eventually(shrunk, 30)
        assert (await world.vm("web"))["status"]["phase"] == "Running"
        assert (nodes.report.over_capacity, nodes.report.refused) == (0, {})


async def test_a_vm_of_a_silent_node_says_so_and_goes_when_the_node_is_gone(world: World) -> None:
    times = {"heartbeat_timeout": "2", "node_loss_confirm": "1"}
    async with world.operator(**times, **CALM), HollowNodes(world.api, OPTIONS) as nodes:
        for name in ("web", "db"):
            await world.create_vm(name, **HALF)
            await in_phase(world, name, "Running")
        nodes.faults = Faults(silent=frozenset(OPTIONS.names))
        lost = await because(world, "web", "NodeLost")
        assert lost["status"]["claim"]["id"]

        nodes.faults = Faults()
        await because(world, "web", "Bound")


async def test_a_vm_that_is_deleted_does_not_wait_for_a_node_that_is_gone(world: World) -> None:
    times = {"heartbeat_timeout": "2", "node_loss_confirm": "1"}
    await world.add_node("node-1")
    async with world.operator(**times, **CALM):
        await world.create_vm("web")
        await world.bound("web")
        lost = await because(world, "web", "NodeLost")
        assert lost["status"]["phase"] == "NodeLost"
        await world.api.delete(VIRTUAL_MACHINE, "web", "default")
        await asyncio.sleep(3)
        assert (await world.vm("web"))["status"]["claim"]
        await world.api.delete(kinds.NODE, "node-1")

        async def gone() -> bool:
            return not (await world.api.list(VIRTUAL_MACHINE)).items

        await eventually(gone, 30)
