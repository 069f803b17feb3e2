"""Places for downloads: few at a time, and servers that dribble keep nobody out for long."""

import asyncio

import pytest

from berth_agent.storage.slots import Slots

pytestmark = pytest.mark.looptime


async def hold(slots: Slots, seconds: float, begun: list[float]) -> None:
    async with slots.one():
        begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(seconds)


async def begun_at(slots: Slots, *durations: float) -> list[float]:
    """When each of these downloads begins, in seconds from now."""
    begun: list[float] = []
    start = asyncio.get_running_loop().time()
    await asyncio.gather(*(hold(slots, seconds, begun) for seconds in durations))
    return [round(moment - start) for moment in begun]


async def test_no_more_begin_than_there_are_places() -> None:
    assert await begun_at(Slots(2, 60), 5, 5, 5, 5, 5) == [0, 0, 5, 5, 10]


async def test_downloads_that_dribble_let_others_begin_beside_them() -> None:
    assert await begun_at(Slots(2, 60), 3600, 3600, 5, 5, 5) == [0, 0, 60, 60, 65]


async def test_a_place_that_was_lent_is_not_given_back_twice() -> None:
    slots = Slots(1, 60)
    assert await begun_at(slots, 100) == [0]
    assert await begun_at(slots, 5, 5) == [0, 5]


async def test_a_download_that_is_cancelled_gives_its_place_back() -> None:
    slots = Slots(1, 60)
    task = asyncio.create_task(hold(slots, 3600, []))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait({task})
    assert await begun_at(slots, 5, 5) == [0, 5]
