"""The operator's probes: what makes it not alive, what makes it not ready, and that a lost API server does neither."""

import asyncio
from typing import Any

import pytest
from tests.fakes.api import FakeApi
from tests.unit.operator.worlds import World

from berth_api import kinds
from berth_api.client import Unavailable
from berth_operator.leases import Election, LeaseTimes
from berth_operator.pages import Pages
from berth_operator.routing import Task
from berth_operator.services import Service
from berth_operator.settings import Settings

pytestmark = pytest.mark.looptime


def election(api: FakeApi) -> Election:
    clock = asyncio.get_running_loop().time
    return Election(api, namespace="berth-system", name="berth-operator", identity="a", times=LeaseTimes(), clock=clock)


async def stop(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_one_that_stands_by_is_alive_and_ready_once_everything_was_listed() -> None:
    world = World()
    world.furnish()
    world.api.add(
        kinds.LEASE,
        {
            "metadata": {"name": "berth-operator", "namespace": "berth-system"},
            "spec": {"holderIdentity": "other", "leaseDurationSeconds": 3600, "leaseTransitions": 4},
        },
    )
    standing = election(world.api)
    pages = Pages(world.operation, standing)
    service = Service(world.api, world.operation, standing, [])
    (problem,) = pages.readiness.problems()
    assert problem.startswith("caches: not listed yet: clustervirtualmachineimages, hypervisors, leases")
    world.api.fail(Unavailable(503, "", "away"), verb="list", times=3)
    working = asyncio.create_task(service._work())
    await asyncio.sleep(30)
    assert pages.readiness.problems() == ()
    assert pages.liveness.problems() == ()
    assert world.operation.cluster.networks.get("lan") is not None
    await stop(working)


async def test_an_api_server_that_goes_away_makes_nobody_restart_the_operator_nor_call_it_unready() -> None:
    world = World()
    world.furnish()
    world.add_node("node-1")
    running = election(world.api)
    pages = Pages(world.operation, running)
    working = asyncio.create_task(running.run(world.operation.lead))
    await asyncio.sleep(5)
    assert pages.readiness.problems() == ()
    world.api.fail(Unavailable(503, "", "away"), times=10**9)
    await asyncio.sleep(3600)
    assert (pages.liveness.problems(), pages.readiness.problems()) == ((), ())
    await stop(working)


async def test_an_election_that_does_not_go_on_is_a_reason_to_restart() -> None:
    world = World()
    pages = Pages(world.operation, election(world.api))
    await asyncio.sleep(59)
    assert pages.liveness.problems() == ()
    await asyncio.sleep(2)
    assert pages.liveness.problems() == ("election: the Lease was not reached for in 61 s",)


async def test_work_past_every_deadline_is_one() -> None:
    world = World()
    running = election(world.api)
    pages, queue = Pages(world.operation, running), world.operation.queue
    standing = asyncio.create_task(running.run(lambda _: asyncio.Event().wait()))
    queue.open()
    working = asyncio.create_task(queue.run(lambda _: asyncio.Event().wait(), 2))  # type: ignore[arg-type, return-value]
    queue.add(Task("nodes", "", "node-1"))
    await asyncio.sleep(301)
    assert pages.liveness.problems() == ("work queue: past every deadline: nodes/node-1",)
    await stop(working)
    await stop(standing)


async def test_a_scheduler_that_does_not_go_on_is_one_but_not_one_that_has_nothing_to_do() -> None:
    world = World()
    world.furnish()
    world.add_node("node-1", memory="64Gi", cpu="256")
    pages = Pages(world.operation, election(world.api))
    async with world.leading():
        await asyncio.sleep(1000)
        assert world.operation.scheduler.stalled == 0.0
        await world.beat("node-1")
        world.api.latency = 1e6  # writes that meet no deadline, which the client's own would end
        for number in range(70):
            world.add_vm(f"vm-{number}")
        await world.settle()
        await asyncio.sleep(100)
        assert not any("scheduler" in problem for problem in pages.liveness.problems())
        await asyncio.sleep(30)
        assert any(problem.startswith("scheduler: VMs wait") for problem in pages.liveness.problems())


def test_only_what_has_a_url_is_served() -> None:
    async def pages(**urls: str) -> list[str]:
        world = World()
        found = Pages(world.operation, election(world.api)).at(Settings(**urls), world.metrics)  # type: ignore[arg-type]
        return sorted(found)

    assert asyncio.run(pages()) == []
    both = {"liveness_url": "http://127.0.0.1:1/healthz", "readiness_url": "http://127.0.0.1:1/readyz"}
    assert asyncio.run(pages(**both)) == sorted(both.values())
