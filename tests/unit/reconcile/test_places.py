"""Which steps lend their VM's place in the queue, on virtual time."""

import asyncio
from contextlib import suppress
from random import Random

import pytest

from berth_agent.reconcile.places import Places
from berth_agent.reconcile.plan.steps import CreateDisk, DestroyDomain, StartDomain, Step
from berth_api.workqueues import Backoff, WorkQueue

pytestmark = pytest.mark.looptime


async def begun_at(steps: dict[str, Step], *, places: int, endings: int, seconds: float = 10) -> dict[str, float]:
    """When each VM's step begins, where each takes so many seconds, and so many VMs have a place."""
    queue: WorkQueue[str] = WorkQueue(Backoff(), Random(0))
    held, begun = Places(queue.aside, endings), dict[str, float]()

    async def work(vm: str) -> None:
        async with held.during(steps[vm]):
            begun[vm] = asyncio.get_running_loop().time()
            await asyncio.sleep(seconds)

    for vm in steps:
        queue.add(vm)
    with suppress(TimeoutError):
        async with asyncio.timeout(1000):
            await queue.run(work, places)
    assert queue.running == 0
    return begun


@pytest.mark.parametrize(
    ("step", "begun"),
    [(StartDomain(), [0, 10]), (CreateDisk("root"), [0, 1]), (DestroyDomain(), [0, 0])],
    ids=lambda one: one.name if isinstance(one, Step) else "",
)
async def test_a_step_lends_its_place_when_it_is_nothing_but_waiting(step: Step, begun: list[float]) -> None:
    found = await begun_at({"first": step, "second": step}, places=1, endings=2)
    assert list(found.values()) == pytest.approx(begun)


async def test_so_many_guests_end_at_a_time_and_none_waits_for_ever() -> None:
    found = await begun_at({f"vm-{number}": DestroyDomain() for number in range(9)}, places=2, endings=3)
    assert list(found.values()) == pytest.approx([0, 0, 0, 10, 10, 10, 20, 20, 20])


async def test_an_end_that_is_cancelled_makes_room_for_another() -> None:
    held = Places(WorkQueue[str](Backoff(), Random(0)).aside, endings=1)

    async def end() -> None:
        async with held.during(DestroyDomain()):
            await asyncio.Event().wait()

    first, second = asyncio.create_task(end()), asyncio.create_task(end())
    await asyncio.sleep(1)
    for cancelled in (second, first):
        cancelled.cancel()
        await asyncio.wait({cancelled})
    async with asyncio.timeout(1), held.during(DestroyDomain()):
        pass
