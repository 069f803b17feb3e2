"""VMs that are created at the same moment, and what they have asked for of one another: no group is ever violated."""

from collections import Counter
from itertools import count

import pytest
from tests.integration.operator.crowds import (
    CALM,
    ZONE,
    apart,
    create,
    delete,
    group,
    nodes,
    room_of,
    silence,
    vm_body,
)
from tests.integration.operator.records import recording
from tests.integration.operator.waiting import eventually
from tests.integration.operator.worlds import World

from berth_api import kinds
from berth_dev.hollow.nodes import HollowNodes
from berth_dev.hollow.options import HollowOptions

pytestmark = pytest.mark.integration


def zones_of(options: HollowOptions) -> dict[str, str]:
    return {name: options.zone(number) for number, name in enumerate(options.names)}


async def test_of_200_vms_that_keep_apart_as_many_run_as_there_are_nodes(world: World) -> None:
    options = nodes(20, slots=250)
    async with (
        HollowNodes(world.api, options) as hollow,
        recording(world.api, room_of(options)) as record,
        world.operator(retell="0.5", **CALM),
    ):
        await create(world, [vm_body(f"vm-{n:03}", **apart("db")) for n in range(200)])
        await record.settled(running=20, waiting=180)
        first = record.running
        assert set(first.values()) == set(options.names)
        await record.told("0/20 nodes: 20 already hold a VM that it must not be near (group app=db)")
        await silence(world, 4.0, within=60)

        await delete(world, sorted(first)[:5])
        await record.settled(running=20, waiting=175)
        second = record.running
        assert set(second.values()) == set(options.names)
        assert len(second.keys() - first.keys()) == 5
        await silence(world, 4.0, within=60)
        assert (hollow.report.admitted, hollow.report.refused, hollow.report.over_capacity) == (25, {}, 0)
        assert record.faults == []


async def test_60_vms_spread_evenly_and_wait_where_one_zone_is_full(world: World) -> None:
    options = nodes(6, slots=40)
    zones = zones_of(options)
    spread = [
        {
            "maxSkew": 1,
            "topologyKey": ZONE,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
    ]
    async with HollowNodes(world.api, options) as hollow, recording(world.api, room_of(options)) as record:
        for name in options.names:
            if zones[name] == "zone-3":
                await limit(world, name, 5)
        async with world.operator(retell="0.5", **CALM):
            bodies = [vm_body(f"vm-{n:03}", labels={"app": "web"}, topologySpreadConstraints=spread) for n in range(60)]
            await create(world, bodies)
            await record.settled(running=32, waiting=28)
            assert Counter(zones[node] for node in record.running.values()) == {
                "zone-1": 11,
                "zone-2": 11,
                "zone-3": 10,
            }
            await record.told(
                "0/6 nodes: 4 would make topologySpreadConstraints uneven (topology.kubernetes.io/zone, maxSkew 1), "
                "2 have no VM slot left"
            )

            for name in options.names:
                await limit(world, name, 250)
            await record.settled(running=60, waiting=0)
            assert set(Counter(zones[node] for node in record.running.values()).values()) == {20}
            assert (record.faults, hollow.report.refused) == ([], {})


async def test_vms_that_want_to_be_together_all_come_into_one_zone(world: World) -> None:
    options = nodes(6, slots=10)
    zones = zones_of(options)
    together = {"vmAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [group("chat", ZONE)]}}
    async with (
        HollowNodes(world.api, options) as hollow,
        recording(world.api, room_of(options)) as record,
        world.operator(retell="0.5", **CALM),
    ):
        await create(world, [vm_body(f"vm-{n:03}", labels={"app": "chat"}, affinity=together) for n in range(30)])
        await record.settled(running=20, waiting=10)
        [(_zone, members)] = Counter(zones[node] for node in record.running.values()).items()
        assert members == 20
        await record.told(
            "0/6 nodes: 4 are not near the VMs of vmAffinity (app=chat by topology.kubernetes.io/zone), "
            "2 lack CPU (closest: n-0001, short of 1 CPU)"
        )
        assert (record.faults, hollow.report.refused) == ([], {})


async def test_those_of_high_priority_get_the_room_there_is(world: World) -> None:
    for name, value in (("high", 1000), ("low", 10)):
        await world.api.create(kinds.PRIORITY_CLASS, {"metadata": {"name": name}, "value": value})
    options = nodes(2, slots=5)
    async with world.operator(**CALM), recording(world.api, room_of(options)) as record:
        await create(world, [vm_body(f"a-low-{n:02}", priorityClassName="low") for n in range(20)])
        await create(world, [vm_body(f"b-none-{n:02}") for n in range(10)])
        await create(world, [vm_body(f"c-high-{n:02}", priorityClassName="high") for n in range(10)])
        await record.settled(running=0, waiting=40)
        async with HollowNodes(world.api, options):
            await record.settled(running=10, waiting=30)
            assert set(record.running) == {f"c-high-{n:02}" for n in range(10)}
            await delete(world, ["c-high-00", "c-high-01"])
            await record.settled(running=10, waiting=28)
            assert {name for name in record.running if not name.startswith("c-high")} == {"a-low-00", "a-low-01"}
            assert record.faults == []


async def test_a_large_vm_gets_in_although_small_ones_take_every_bit_that_comes_free(world: World) -> None:
    options = nodes(4, slots=6)
    names = (f"small-{number:03}" for number in count())
    async with (
        HollowNodes(world.api, options) as hollow,
        recording(world.api, room_of(options)) as record,
        world.operator(reserve_after="3", **CALM) as operator,
    ):
        await create(world, [vm_body(next(names)) for _ in range(24)])
        await record.settled(running=24, waiting=0)
        await create(world, [vm_body("large", cpu={"cores": 5})])
        await record.settled(running=24, waiting=1)

        async def kept() -> bool:
            return "is kept for default/large" in world.log(operator)

        async def full_or_kept() -> bool:
            return len(record.bound) == 24 or "large" in record.bound or await kept()

        overtaking = gone_since = 0
        for turn in count():
            victim = min((name for name, node in record.running.items() if node == options.names[turn % 4]), default="")
            if await kept():
                gone_since += 1
            elif "large" not in record.bound:
                overtaking = len(record.bindings) - 24
            if "large" in record.bound:
                break
            assert gone_since <= 24, f"the large one did not come though its room was kept: {record}"
            assert turn < 500, f"no room was kept for the large one: {record}"
            await create(world, [vm_body(next(names))])
            await delete(world, [victim] if victim else [])
            await record.until(lambda victim=victim: victim not in record.machines, 30)  # type: ignore[misc]
            await eventually(full_or_kept, 30)
        assert overtaking > 0
        assert (record.faults, hollow.report.over_capacity, hollow.report.refused) == ([], 0, {})


async def limit(world: World, node: str, slots: int) -> None:
    """Let the node hold no more than so many VMs."""
    patch = [{"op": "add", "path": "/spec/maxVirtualMachines", "value": slots}]
    await world.api.patch_json(kinds.HYPERVISOR, node, "", patch)
