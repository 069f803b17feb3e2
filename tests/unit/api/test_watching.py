"""Watches that die end the process, however soon they do."""

import asyncio

import pytest

from berth_api.watching import WatchDied, supervise


async def test_a_watch_that_dies_as_soon_as_it_is_made_is_noticed() -> None:
    async def refused() -> None:
        raise RuntimeError("403 for ever")

    guard = asyncio.create_task(supervise())
    await asyncio.sleep(0)
    watch = asyncio.create_task(refused(), name="watcher for nodes.v1@None")
    with pytest.raises(WatchDied, match="403 for ever"):
        await asyncio.wait_for(guard, 0.5)
    assert watch.done()


async def test_another_task_that_fails_is_not_its_business_and_stays_its_owners() -> None:
    async def fail() -> None:
        raise RuntimeError("something else")

    guard = asyncio.create_task(supervise())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="something else"):
        await asyncio.create_task(fail(), name="worker 1")
    await asyncio.sleep(0)
    assert not guard.done()
    guard.cancel()
    await asyncio.wait({guard})
    assert asyncio.get_running_loop().get_task_factory() is None
