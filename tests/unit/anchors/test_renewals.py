"""Where Pods cannot be resized: an anchor is made anew, and one that is turned down opens the node for moments only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from tests.unit.anchors.worlds import ANCHOR, GIB, NAME, SYSTEM, World

from berth_agent.cluster_view import ClusterView
from berth_agent.node.allocations import allocation_of
from berth_agent.node.anchors import Anchor as AgentsAnchor
from berth_agent.node.pods import Pod
from berth_agent.reconcile.plan.admission import Refusal
from berth_api.anchors import Size
from berth_api.client import NotFound
from berth_api.kinds import HYPERVISOR, POD

pytestmark = pytest.mark.looptime
ROOM = Size(8000, 16 * GIB)
HELD, MORE = Size(4000, 8 * GIB), Size(1000, 4 * GIB)
SLIPPED_IN = Size(1000, 6 * GIB)


class OldKubelet:
    """Runs a new Pod that fits, or ends it; says nothing else, whatever changes."""

    def __init__(self, world: World, random: Random) -> None:
        self.world, self.random = world, random
        self.pods = Size()
        self.turned_down: list[float] = []
        self._known = ""
        self.working: asyncio.Task[None]

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.05 + self.random.random() * 0.3)
            pod = self.world.api.peek(POD, ANCHOR, SYSTEM)
            if pod is not None and pod["metadata"]["uid"] != self._known:
                self._known = pod["metadata"]["uid"]
                await self._admit()

    async def _admit(self) -> None:
        if ROOM.covers(self.world.requests + self.pods):
            await self.world.kubelet(containerStatuses=[{"name": "anchor"}])
        else:
            self.turned_down.append(self.world.loop.time())
            await self.world.kubelet(phase="Failed", reason="OutOfmemory", containerStatuses=[])

    def report(self) -> None:
        """The agent tells what Pods request."""
        body: dict[str, Any] = self.world.api.peek(HYPERVISOR, NAME) or {}
        status = {**body["status"], "podRequests": self.pods.to_requests()}
        self.world.api.remove(HYPERVISOR, NAME)
        self.world.api.add(HYPERVISOR, body | {"status": status})


@pytest_asyncio.fixture(params=range(2))
async def old(request: pytest.FixtureRequest) -> AsyncIterator[OldKubelet]:
    """The kubelet of a node below a server that resizes nothing; not at work yet, as tests have a time of their own."""
    world = World()
    world.tracks = False
    kubelet = OldKubelet(world, Random(request.param))
    yield kubelet
    kubelet.working.cancel()
    with suppress(asyncio.CancelledError):
        await kubelet.working
    await world.stop()


async def half_full(old: OldKubelet) -> None:
    """Let it work until half of its node is held by VMs."""
    world = old.world
    old.working = asyncio.create_task(old.run())
    await world.start(allocatable=ROOM.to_requests())
    await asyncio.sleep(1)
    world.api.fail(NotFound(404, "NotFound", "no such resource"), verb="apply", kind=POD)
    claim(world, "a", HELD)
    world.admit("a")
    await asyncio.sleep(2)
    assert world.requests == HELD


def claim(world: World, name: str, size: Size) -> None:
    world.claim(name, cpu=size.cpu, memory=size.memory)


def is_covered(world: World) -> bool:
    """Whether kubelet and kube-scheduler count what runs."""
    there = world.api.peek(POD, ANCHOR, SYSTEM) is not None and world.pod["status"].get("phase") != "Failed"
    return there and world.requests.covers(HELD)


async def open_for(world: World, seconds: float) -> float:
    """Seconds of these for which the node was open to Pods."""
    found = 0.0
    for _ in range(round(seconds * 20)):
        await asyncio.sleep(0.05)
        found += 0.0 if is_covered(world) else 0.05
    return found


async def test_what_is_turned_down_gives_way_at_once_to_what_admitted_vms_hold(old: OldKubelet) -> None:
    await half_full(old)
    old.pods = SLIPPED_IN
    claim(old.world, "b", MORE)
    assert await open_for(old.world, 25) < 0.5
    assert len(old.turned_down) <= 2
    assert old.world.requests == HELD
    assert old.world.pod["status"]["phase"] == "Running"
    assert old.world.pod["metadata"]["annotations"]["berth.dev/anchor-denied"] == "OutOfmemory: CPU 5, memory 12Gi"


async def test_it_is_tried_again_ever_later_and_not_where_the_agent_reports_that_it_does_not_fit(
    old: OldKubelet,
) -> None:
    await half_full(old)
    old.pods = SLIPPED_IN
    claim(old.world, "b", MORE)
    await asyncio.sleep(400)
    pauses = [after - before for before, after in zip(old.turned_down, old.turned_down[1:], strict=False)]
    assert 3 <= len(pauses) <= 7
    assert pauses[-1] > 2 * pauses[0]
    old.report()
    await old.world.see()
    known = len(old.turned_down)
    await asyncio.sleep(3000)
    assert len(old.turned_down) == known
    old.pods = Size()
    old.report()
    await old.world.see()
    await asyncio.sleep(30)
    assert old.world.requests == HELD + MORE
    assert "berth.dev/anchor-denied" not in old.world.pod["metadata"]["annotations"]


async def test_fewer_claims_are_tried_at_once(old: OldKubelet) -> None:
    await half_full(old)
    old.pods = SLIPPED_IN
    claim(old.world, "b", Size(500, GIB))
    claim(old.world, "c", MORE)
    await asyncio.sleep(3)
    assert old.world.requests == HELD
    old.world.release("c")
    await asyncio.sleep(2)
    assert old.world.requests == HELD + Size(500, GIB)
    assert old.world.pod["status"]["phase"] == "Running"


async def test_the_agent_refuses_what_was_turned_down_and_then_nothing_is_written(old: OldKubelet) -> None:
    await half_full(old)
    old.pods = SLIPPED_IN
    claim(old.world, "b", MORE)
    began, refusal = old.world.loop.time(), await ask(old.world)
    assert refusal is not None
    assert "OutOfmemory: CPU 5, memory 12Gi" in refusal.message
    assert old.world.loop.time() - began < 8
    old.world.release("b")
    await asyncio.sleep(1)
    before = len(old.world.api.writes)
    await asyncio.sleep(1000)
    assert len(old.world.api.writes) == before
    assert is_covered(old.world)


async def ask(world: World) -> Refusal | None:
    """What the agent answers to a claim of `MORE`."""
    view = ClusterView()
    agent = AgentsAnchor(world.api, view, namespace=SYSTEM, node_name=NAME, patience=5, limit=30)

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.1)
            found = world.api.peek(POD, ANCHOR, SYSTEM)
            if found is not None and view.put(POD, found) is not None:
                agent.changed()

    watching = asyncio.create_task(watch())
    try:
        return await agent.admit("b", lambda: HELD + MORE, lambda: None)
    finally:
        watching.cancel()


async def test_one_that_is_renewed_is_gone_at_once(old: OldKubelet) -> None:
    await half_full(old)
    claim(old.world, "b", MORE)
    assert await open_for(old.world, 5) == 0
    assert old.world.requests == HELD + MORE
    deletions = [call.body for call in old.world.api.calls if call.verb == "delete"]
    assert {each["grace"] for each in deletions} == {0}
    assert allocation_of(Pod.from_api(old.world.pod)).size == HELD + MORE


async def test_pods_that_have_what_vms_hold_leave_them_the_rest_once_the_agent_has_told(old: OldKubelet) -> None:
    await half_full(old)
    old.pods = Size(1000, 10 * GIB)
    old.world.api.remove(POD, ANCHOR, SYSTEM)
    await old.world.see()
    await asyncio.sleep(1)
    old.report()
    await old.world.see()
    await asyncio.sleep(60)
    assert old.world.requests == Size(HELD.cpu, 6 * GIB)
    assert old.world.pod["status"]["phase"] == "Running"
