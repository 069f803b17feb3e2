"""Whose guest is started when, on virtual time."""

import asyncio
from collections.abc import Callable

import pytest

from berth_agent.reconcile.turns import Turns

pytestmark = pytest.mark.looptime
NEVER = 1000.0


def now() -> float:
    return asyncio.get_running_loop().time()


async def prepared_after(turns: Turns, seconds: float) -> float:
    """Prepare a VM for so long; returns when its guest was started."""
    with turns.preparing() as turn:
        await asyncio.sleep(seconds)
        if not turn.prepared():
            await turn.come()
        return now()


async def test_a_vm_that_is_alone_never_waits() -> None:
    turns = Turns()
    with turns.preparing() as turn:
        assert turn.prepared()
        await turn.come()
    assert now() == 0


async def test_guests_are_started_when_all_that_came_together_are_prepared() -> None:
    turns = Turns(patience=2)
    started = await asyncio.gather(*(prepared_after(turns, seconds) for seconds in (0.1, 0.5, 1.5)))
    assert started == [1.5, 1.5, 1.5]


async def test_a_vm_that_comes_later_is_waited_for_as_well() -> None:
    turns = Turns(patience=2)

    async def later() -> float:
        await asyncio.sleep(0.5)
        return await prepared_after(turns, 1)

    assert list(await asyncio.gather(prepared_after(turns, 0.6), later())) == [1.5, 1.5]


async def test_a_preparation_that_takes_its_time_is_not_waited_for() -> None:
    turns = Turns(patience=2)
    fetching = asyncio.create_task(prepared_after(turns, NEVER))
    await asyncio.sleep(1.5)
    assert await prepared_after(turns, 0.1) == 2
    assert await prepared_after(turns, 0.1) == pytest.approx(2.1)
    fetching.cancel()
    await asyncio.wait({fetching})


async def test_nobody_waits_longer_than_patience_for_vms_that_keep_coming() -> None:
    turns = Turns(patience=2)

    async def keep_coming() -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(prepared_after(turns, 1))
                await asyncio.sleep(0.5)

    coming = asyncio.create_task(keep_coming())
    assert await prepared_after(turns, 0.1) == pytest.approx(2.1)
    coming.cancel()
    await asyncio.wait({coming})


@pytest.mark.parametrize("end", [lambda one: one.cancel(), lambda one: one.fail()], ids=["cancelled", "failed"])
async def test_a_preparation_that_ends_without_a_start_is_not_waited_for(end: Callable[["Ending"], None]) -> None:
    turns = Turns(patience=NEVER)
    ending = Ending(turns)
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(1, end, ending)
    assert await prepared_after(turns, 0.1) == 1
    await asyncio.wait({ending.task})
    assert ending.task.cancelled() or ending.task.exception() is not None


async def test_whoever_gives_up_waiting_leaves_nothing_behind() -> None:
    turns = Turns(patience=NEVER)
    with turns.preparing():
        waiting = asyncio.create_task(prepared_after(turns, 0))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait({waiting})
    assert turns.are_all_prepared


class Ending:
    """A preparation that ends before the VM is prepared."""

    def __init__(self, turns: Turns) -> None:
        self._ended = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._prepare(turns))

    async def _prepare(self, turns: Turns) -> None:
        with turns.preparing():
            await self._ended

    def cancel(self) -> None:
        self.task.cancel()

    def fail(self) -> None:
        self._ended.set_exception(RuntimeError("no disk"))
