"""Which nodes can be drained: those that VMs hold are kept by a budget, those that nobody needs get no anchor back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.unit.anchors.worlds import ANCHOR, GIB, NAME, SYSTEM, World

from berth_api.anchors import Size, node_label
from berth_api.client import Forbidden, Invalid, Unavailable
from berth_api.kinds import HYPERVISOR, NODE, POD, POD_DISRUPTION_BUDGET

pytestmark = pytest.mark.looptime
DENIED = Forbidden(403, "Forbidden", "exceeded quota: few")


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    one = World()
    await one.start()
    await one.kubelet()
    yield one
    await one.stop()


def has_budget(world: World) -> bool:
    return world.api.peek(POD_DISRUPTION_BUDGET, ANCHOR, SYSTEM) is not None


async def test_an_empty_node_is_drained_and_its_anchor_stays_away_until_it_is_uncordoned(world: World) -> None:
    await world.node(cordoned=True)
    assert await world.evict() == 201
    for _ in range(3):
        world.queue.add(NAME)
        await asyncio.sleep(300)
    assert world.api.peek(POD, ANCHOR, SYSTEM) is None
    assert world.anchors.levels() == {}, "it lacks nothing"
    await world.node()
    assert world.api.peek(POD, ANCHOR, SYSTEM) is not None


@pytest.mark.parametrize("effect", ["NoSchedule", "NoExecute"])
async def test_one_that_is_tainted_gets_it_back_for_the_first_vm(world: World, effect: str) -> None:
    await world.node(taint=effect)
    assert await world.evict() == 201
    assert world.api.peek(POD, ANCHOR, SYSTEM) is None
    world.claim("a")
    await asyncio.sleep(0.1)
    assert world.api.peek(POD, ANCHOR, SYSTEM) is not None


async def test_a_taint_that_keeps_nobody_away_changes_nothing(world: World) -> None:
    await world.node(taint="PreferNoSchedule")
    await world.evict()
    assert world.api.peek(POD, ANCHOR, SYSTEM) is not None


async def test_a_node_that_never_had_libvirt_has_none() -> None:
    world = World()
    world.api.add(HYPERVISOR, {"metadata": {"name": NAME}, "spec": {}})
    world.api.add(NODE, {"metadata": {"name": NAME}})
    await world.start()
    assert world.api.peek(POD, ANCHOR, SYSTEM) is None
    assert world.anchors.levels() == {}
    await world.stop()


async def test_a_vm_keeps_its_node_until_it_is_gone(world: World) -> None:
    await world.anchors.before_binding(NAME, world.leadership)
    world.claim("a")
    world.admit("a")
    await asyncio.sleep(1)
    await world.kubelet()
    await world.node(cordoned=True)
    assert await world.evict() == 429
    world.release("a")
    await asyncio.sleep(3)
    await world.kubelet()
    assert not has_budget(world)
    assert await world.evict() == 201
    await asyncio.sleep(300)
    assert world.api.peek(POD, ANCHOR, SYSTEM) is None


async def test_a_stopped_vm_does_not_keep_it(world: World) -> None:
    world.claim("a", cpu=0, memory=0)
    await asyncio.sleep(3)
    assert not has_budget(world)


async def test_it_is_there_before_the_first_binding_is_written(world: World) -> None:
    await world.anchors.before_binding(NAME, world.leadership)
    assert has_budget(world)
    budget = world.api.peek(POD_DISRUPTION_BUDGET, ANCHOR, SYSTEM) or {}
    assert budget["spec"]["minAvailable"] == 1
    assert budget["metadata"]["ownerReferences"][0]["kind"] == "Hypervisor"


async def test_a_claim_that_nobody_admitted_brings_no_anchor_back_to_a_cordoned_node(world: World) -> None:
    """It was decided before the node was cordoned: its agent refuses it, and the VM goes elsewhere."""
    await world.node(cordoned=True)
    assert await world.evict() == 201
    world.claim("a")
    await asyncio.sleep(5)
    assert world.api.peek(POD, ANCHOR, SYSTEM) is None
    world.admit("a")
    world.queue.add(NAME)
    await asyncio.sleep(0.1)
    assert world.requests == Size(1000, GIB), "somebody deleted that of a VM which runs"


async def test_one_that_is_just_being_lifted_is_made_again_before_a_binding(world: World) -> None:
    await world.anchors.before_binding(NAME, world.leadership)
    world.api.gate.clear()
    world.api.knocked.clear()
    world.queue.add(NAME)  # nothing was claimed after all
    await world.api.knocked.wait()
    world.claim("a")
    binding = asyncio.create_task(world.anchors.before_binding(NAME, world.leadership))
    await asyncio.sleep(0.1)
    assert not binding.done()
    world.api.gate.set()
    await binding
    assert has_budget(world)


async def test_one_that_somebody_deletes_comes_back(world: World) -> None:
    world.claim("a")
    await asyncio.sleep(0.1)
    world.api.remove(POD_DISRUPTION_BUDGET, ANCHOR, SYSTEM)
    await world.see()
    await asyncio.sleep(0.1)
    assert has_budget(world)


async def test_one_that_cannot_be_made_keeps_no_vm_from_starting_and_is_told(world: World) -> None:
    world.api.fail(DENIED, verb="create", kind=POD_DISRUPTION_BUDGET, times=3)
    await world.anchors.before_binding(NAME, world.leadership)
    world.claim("a")
    await asyncio.sleep(0.05)
    assert world.requests == Size(1000, GIB)
    assert world.refusals >= 1
    await asyncio.sleep(5)
    assert has_budget(world), "tried again"


async def test_a_new_leader_finds_what_the_former_one_left(world: World) -> None:
    world.claim("a")
    await asyncio.sleep(0.1)
    await world.stop()
    world.cluster.budgets.remove(world.api.peek(POD_DISRUPTION_BUDGET, ANCHOR, SYSTEM) or {})
    world.anchors.reset()
    await world.start()
    assert has_budget(world)


async def test_anchors_that_are_turned_off_leave_no_budget(world: World) -> None:
    world.claim("a")
    await asyncio.sleep(0.1)
    await world.stop()
    world.cluster.anchored = False
    world.api.fail(Unavailable(503, "", "starting"), verb="list")
    await world.anchors.remove_where_off(world.leadership)
    assert not has_budget(world)
    await world.start()


async def test_what_the_server_refuses_is_told_and_counted_until_it_is_taken(world: World) -> None:
    words = "must be less than or equal to cpu limit of 500m"
    world.api.fail(Invalid(422, "Invalid", words), verb="apply", times=2)
    world.claim("a")
    await asyncio.sleep(0.05)
    assert world.anchors.levels() == {"refused": 1}
    assert world.refusals >= 1
    await asyncio.sleep(3)
    assert world.requests == Size(1000, GIB)
    assert "refused" not in world.anchors.levels()


async def test_limits_that_a_limit_range_gave_it_grow_with_it(world: World) -> None:
    pod = world.pod
    pod["spec"]["containers"][0]["resources"]["limits"] = {"cpu": "500m", "memory": "8Gi"}
    await world.api.update(POD, ANCHOR, SYSTEM, pod)
    await world.see()
    world.claim("a")
    await asyncio.sleep(0.1)
    resources = world.pod["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"cpu": "1001m", "memory": "8Gi"}


def test_a_nodes_name_is_made_a_labels_value() -> None:
    assert node_label("node-1.example.com") == "node-1.example.com"
    long = node_label("n" * 80)
    assert len(long) <= 63
    assert long != node_label("n" * 81)
