"""An anchor that went comes back, whatever has slipped in, and kube-scheduler nearly always sees what VMs hold."""

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from tests.unit.anchors.worlds import ANCHOR, GIB, SYSTEM, World

from berth_api.anchors import LEAST, Size
from berth_api.kinds import HYPERVISOR, POD

NAME = "node-1"
ROOM = {"cpu": "8", "memory": "16Gi"}
HELD = Size(4000, 15 * GIB)


class Kubelet:
    """Turns down a new Pod that does not fit as a whole, and denies one that is there what does not fit."""

    def __init__(self, world: World, random: Random) -> None:
        self.world, self.random = world, random
        self.slipped_in = Size()
        self.admitted = ""
        self.allocated = Size()
        self.turned_down = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.random.random() * 0.5)
            if self.world.api.peek(POD, ANCHOR, SYSTEM) is not None:
                await self._take_in(self.world.requests, self.world.pod["metadata"]["uid"])

    async def _take_in(self, requests: Size, uid: str) -> None:
        fits = Size(8000, 16 * GIB).covers(requests + self.slipped_in)
        if fits:
            self.allocated, self.admitted = requests, uid
        elif self.admitted != uid:
            self.turned_down += 1
            await self.world.kubelet(phase="Failed", reason="OutOfmemory", containerStatuses=[])
            return
        given = [{"name": "anchor", "allocatedResources": self.allocated.to_requests()}]
        await self.world.kubelet(deny=not fits, containerStatuses=given)


async def full_node(random: Random) -> tuple[World, Kubelet]:
    """A node that VMs hold nearly all of."""
    world = World()
    await world.start(allocatable=ROOM)
    kubelet = Kubelet(world, random)
    await world.kubelet()
    world.claim("a", cpu=HELD.cpu, memory=HELD.memory)
    world.admit("a")
    await asyncio.sleep(1)
    await world.kubelet()
    assert world.requests == HELD
    return world, kubelet


def report(world: World, pods: Size) -> None:
    """The agent tells what Pods request."""
    body: dict[str, Any] = world.api.peek(HYPERVISOR, NAME) or {}
    world.api.remove(HYPERVISOR, NAME)
    world.api.add(HYPERVISOR, body | {"status": {**body["status"], "podRequests": pods.to_requests()}})


def is_seen(world: World) -> bool:
    """Whether kube-scheduler counts what VMs hold: it knows requests, and leaves out what has ended."""
    there = world.api.peek(POD, ANCHOR, SYSTEM) is not None and world.pod["status"].get("phase") != "Failed"
    return there and world.requests == HELD


@pytest.mark.looptime
@pytest.mark.parametrize("reported", [False, True])
async def test_it_begins_with_what_fits_beside_the_pods_that_are_known(reported: bool) -> None:
    world, _ = await full_node(Random(1))
    if reported:
        report(world, Size(100, 2 * GIB))
    world.api.remove(POD, ANCHOR, SYSTEM)
    await world.see()
    await asyncio.sleep(0.1)
    assert world.requests == (Size(4000, 14 * GIB) if reported else HELD)
    await world.stop()


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(8))
async def test_one_small_pod_that_slips_in_does_not_keep_it_away(seed: int) -> None:
    random = Random(seed)
    world, kubelet = await full_node(random)
    kubelet.slipped_in = Size(100, 2 * GIB)
    world.api.remove(POD, ANCHOR, SYSTEM)
    await world.see()
    working = asyncio.create_task(kubelet.run())
    unseen = 0.0
    for _ in range(600):
        await asyncio.sleep(0.1)
        unseen += 0.0 if is_seen(world) else 0.1
    assert kubelet.turned_down == 1
    assert unseen < 3, "seconds for which kube-scheduler saw too much room"
    assert world.anchors.levels() == {"denied": 1}
    kubelet.slipped_in = Size()
    await asyncio.sleep(2)
    assert kubelet.allocated == HELD
    assert world.anchors.levels() == {"settled": 1}
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    await world.stop()


@pytest.mark.looptime
async def test_one_that_is_ended_before_it_stood_for_the_vms_begins_small_again() -> None:
    world, _ = await full_node(Random(1))
    await world.kubelet(phase="Failed", reason="Preempting")
    await asyncio.sleep(0.1)
    assert world.requests == LEAST
    await world.kubelet()
    await asyncio.sleep(0.1)
    assert world.requests == HELD
    await world.kubelet(deny=True, phase="Failed", reason="Preempting")
    await asyncio.sleep(2)
    assert world.requests == LEAST
    await world.stop()
