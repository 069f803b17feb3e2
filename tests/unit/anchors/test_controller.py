"""The operator's part: one Pod per node, as large as its claims, whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.fakes.api import TIMESTAMP
from tests.unit.anchors.worlds import ANCHOR, GIB, NAME, SYSTEM, World

from berth_api.anchors import LEAST, Size
from berth_api.client import Conflict, DeadlineExceeded, NotFound, Unavailable
from berth_api.kinds import HYPERVISOR, NODE, POD

pytestmark = pytest.mark.looptime
CAPACITY = {"cpu": "8", "memory": "16Gi"}


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    one = World()
    await one.start()
    await one.kubelet()
    yield one
    await one.stop()


async def test_a_node_without_vms_has_the_smallest_anchor_and_it_belongs_to_the_hypervisor(world: World) -> None:
    pod, hypervisor = world.pod, world.api.peek(HYPERVISOR, NAME)
    assert hypervisor is not None
    assert world.requests == LEAST
    assert pod["metadata"]["labels"] == {"berth.dev/anchor": "true", "berth.dev/anchor-of": NAME}
    assert pod["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "true"
    assert [(each["kind"], each["uid"], each["controller"]) for each in pod["metadata"]["ownerReferences"]] == [
        ("Hypervisor", hypervisor["metadata"]["uid"], True)
    ]
    spec = pod["spec"]
    assert (spec["nodeName"], spec["priorityClassName"]) == (NAME, "berth-anchor")
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("berth-anchor", False)
    assert spec["tolerations"] == [{"operator": "Exists", "effect": "NoExecute"}]
    assert "limits" not in spec["containers"][0]["resources"]


async def test_it_follows_the_claims_up_at_once_and_down_after_a_while(world: World) -> None:
    world.claim("a", cpu=2000, memory=2 * GIB)
    await asyncio.sleep(0.05)
    assert world.requests == Size(2000, 2 * GIB)
    await world.kubelet()
    world.release("a")
    await asyncio.sleep(1.5)
    assert world.requests == Size(2000, 2 * GIB), "what goes often comes again"
    await asyncio.sleep(1)
    assert world.requests == LEAST


async def test_a_storm_of_bindings_is_a_few_resizes(world: World) -> None:
    world.written.clear()
    for number in range(100):
        world.claim(f"vm-{number}", cpu=100, memory=GIB)
        await asyncio.sleep(0.003)
    await asyncio.sleep(0.2)
    await world.kubelet()
    await asyncio.sleep(1)
    assert world.requests == Size(10_000, 100 * GIB)
    assert world.written.count("resize") <= 3


async def test_what_does_not_change_writes_nothing(world: World) -> None:
    world.claim("a")
    await asyncio.sleep(1)
    await world.kubelet()
    await asyncio.sleep(1)
    before = len(world.api.writes)
    for _ in range(3):
        await world.see()
        world.queue.add(NAME)
        await asyncio.sleep(300)
    assert len(world.api.writes) == before


async def test_the_overcommit_is_taken_into_account() -> None:
    world = World()
    await world.start(spec={"overcommit": {"cpu": 4}})
    await world.kubelet()
    world.claim("a", cpu=6000, memory=GIB)
    await asyncio.sleep(0.1)
    assert world.requests == Size(1500, GIB)
    await world.stop()


async def test_it_asks_for_no_more_than_the_node_has() -> None:
    world = World()
    await world.start(allocatable={"cpu": "2", "memory": "4Gi"})
    await world.kubelet()
    world.claim("a", cpu=6000, memory=GIB)
    await asyncio.sleep(0.1)
    assert world.requests == Size(2000, GIB)
    await world.stop()


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
async def test_one_that_the_kubelet_turned_down_is_made_again_ever_later(world: World, phase: str) -> None:
    for _ in range(4):
        await world.kubelet(phase=phase, reason="OutOfcpu")
        await asyncio.sleep(30)
    deleted = [time for action, time in zip(world.written, world.times, strict=True) if action == "delete"]
    made = [time for action, time in zip(world.written, world.times, strict=True) if action == "create"]
    pauses = [after - before for before, after in zip(deleted, made[1:], strict=True)]
    assert pauses[0] < 0.2, "the next one asks for less"
    assert pauses[3] > 1.9


async def test_one_that_somebody_deletes_is_made_again_at_once_as_large_as_it_was(world: World) -> None:
    world.claim("a")
    await asyncio.sleep(0.1)
    world.api.remove(POD, ANCHOR, SYSTEM)
    await world.see()
    await asyncio.sleep(0.1)
    assert world.requests == LEAST, "for this one is only bound"
    await world.kubelet()
    await asyncio.sleep(0.1)
    assert world.written[-2:] == ["create", "resize"]
    assert world.requests == Size(1000, GIB)


async def test_a_new_leader_lets_none_grow_before_its_kubelet_has_taken_it_in(world: World) -> None:
    world.api.remove(POD, ANCHOR, SYSTEM)
    await world.see()
    await asyncio.sleep(0.1)
    world.claim("a")
    world.anchors.reset()
    await world.anchors.before_binding(NAME, world.leadership)
    assert world.requests.cpu == LEAST.cpu
    assert world.requests != LEAST, "but what a former leader sent comes too late"


@pytest.mark.parametrize("claims", [0, 1])
@pytest.mark.parametrize("settings", [("right",), ("wrong", "pull")], ids=["image", "secrets"])
async def test_one_that_never_started_is_made_anew_by_other_settings(settings: tuple[str, ...], claims: int) -> None:
    world = World(image="wrong")
    await world.start()
    await world.kubelet(phase="Pending", containerStatuses=[], startTime=TIMESTAMP)
    for number in range(claims):
        world.claim(f"vm-{number}")
    await asyncio.sleep(1)
    assert world.anchors.levels() == {"unstarted": 1}
    assert world.written.count("create") == 1, "by the same settings it would not start either"
    await world.stop()
    world.lead_by(*settings)
    await world.start()
    await world.see()
    await asyncio.sleep(1)
    assert world.written.count("create") == 2
    assert world.pod["spec"]["containers"][0]["image"] == settings[0]
    assert [each["name"] for each in world.pod["spec"].get("imagePullSecrets", ())] == list(settings[1:])
    await world.kubelet()
    await asyncio.sleep(100)
    assert world.written.count("create") == 2
    await world.stop()


async def test_one_that_stands_for_vms_is_made_anew_by_other_settings_once_they_have_gone(world: World) -> None:
    world.claim("a")
    await asyncio.sleep(0.1)
    await world.kubelet()
    await world.stop()
    world.lead_by("new")
    await world.start()
    await asyncio.sleep(100)
    assert world.pod["spec"]["containers"][0]["image"] == "pause"
    world.release("a")
    await asyncio.sleep(5)
    await world.kubelet()
    await asyncio.sleep(1)
    assert world.pod["spec"]["containers"][0]["image"] == "new"


async def test_a_hypervisor_without_a_node_lacks_no_anchor(world: World) -> None:
    world.api.remove(NODE, NAME)
    world.api.remove(POD, ANCHOR, SYSTEM)
    await world.see()
    assert world.anchors.levels() == {}


async def test_that_of_a_former_hypervisor_is_replaced(world: World) -> None:
    uid = world.pod["metadata"]["uid"]
    world.api.remove(HYPERVISOR, NAME)
    world.api.add(HYPERVISOR, {"metadata": {"name": NAME}, "spec": {}, "status": {"capacity": CAPACITY}})
    await world.see()
    world.queue.add(NAME)
    await asyncio.sleep(1)
    await world.see()
    await asyncio.sleep(1)
    assert world.pod["metadata"]["uid"] != uid


async def test_without_the_hypervisor_it_is_the_garbage_collectors(world: World) -> None:
    world.api.remove(HYPERVISOR, NAME)
    await world.see()
    before = len(world.api.writes)
    world.queue.add(NAME)
    await asyncio.sleep(10)
    assert len(world.api.writes) == before


async def test_a_server_that_resizes_no_pods_has_them_made_anew(world: World) -> None:
    uid = world.pod["metadata"]["uid"]
    world.api.fail(NotFound(404, "NotFound", "the server could not find the requested resource"), verb="apply")
    world.claim("a")
    await asyncio.sleep(0.5)
    await world.see()
    await asyncio.sleep(1)
    assert world.pod["metadata"]["uid"] != uid
    assert world.requests == Size(1000, GIB)


async def test_no_binding_is_written_while_the_anchor_is_made_smaller(world: World) -> None:
    world.claim("a")
    await asyncio.sleep(0.1)
    await world.kubelet()
    await world.anchors.before_binding(NAME, world.leadership)
    world.api.gate.clear()
    world.api.knocked.clear()
    world.release("a")
    await world.api.knocked.wait()
    binding = asyncio.create_task(world.anchors.before_binding(NAME, world.leadership))
    await asyncio.sleep(1)
    assert not binding.done()
    world.api.gate.set()
    await binding
    assert world.requests == LEAST


async def test_a_binding_that_would_wait_long_is_decided_anew(world: World) -> None:
    world.claim("a")
    await asyncio.sleep(0.1)
    await world.kubelet()
    world.api.gate.clear()
    world.release("a")
    await asyncio.sleep(3)
    with pytest.raises(Conflict):
        await world.anchors.before_binding(NAME, world.leadership)


@pytest.mark.parametrize("error", [Unavailable(503, "", "away"), DeadlineExceeded(0, "", "late")])
async def test_a_resize_of_which_nobody_knows_is_outdated_before_the_next_binding(
    world: World, error: Exception
) -> None:
    world.claim("a")
    await asyncio.sleep(0.1)
    await world.kubelet()
    world.queue.close()
    world.release("a")
    await asyncio.sleep(5)
    world.api.fail(error, verb="apply", kind=POD)
    with pytest.raises(type(error)):
        await world.anchors.reconcile(NAME, world.leadership)
    version = world.pod["metadata"]["resourceVersion"]
    await world.anchors.before_binding(NAME, world.leadership)
    assert world.pod["metadata"]["resourceVersion"] != version
    assert world.requests.covers(Size(1000, GIB)), "nothing is taken away by that"


async def test_a_new_leader_outdates_what_the_former_one_may_have_sent(world: World) -> None:
    await world.anchors.before_binding(NAME, world.leadership)
    version = world.pod["metadata"]["resourceVersion"]
    await world.anchors.before_binding(NAME, world.leadership)
    assert world.pod["metadata"]["resourceVersion"] == version, "once is enough"
    world.anchors.reset()
    await world.anchors.before_binding(NAME, world.leadership)
    assert world.pod["metadata"]["resourceVersion"] != version
    assert world.anchors.levels() == {"waiting": 1}


async def test_a_denied_resize_counts_as_such(world: World) -> None:
    world.claim("a", cpu=9000)
    await asyncio.sleep(0.1)
    await world.kubelet(deny=True)
    assert world.anchors.levels() == {"denied": 1}
    world.release("a")
    await asyncio.sleep(3)
    await world.kubelet()
    assert world.anchors.levels() == {"settled": 1}
