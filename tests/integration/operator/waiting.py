"""Waiting for what a cluster will show sooner or later."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from berth_api.client import NotFound


async def eventually(probe: Callable[[], Awaitable[Any]], within: float = 10.0) -> Any:
    """The first answer of `probe` that counts as true. An AssertionError of the last try ends the wait."""
    end = time.monotonic() + within
    while True:
        try:
            answer = await probe()
        except (AssertionError, NotFound):
            if time.monotonic() > end:
                raise
            answer = None
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{probe} was not true within {within} s")
        await asyncio.sleep(0.01)


async def side_by_side(calls: Iterable[Awaitable[Any]], at_once: int = 24) -> None:
    """Await all, so many at once: a crowd would wait for connections, and its deadlines pass meanwhile."""
    left = iter(calls)

    async def work() -> None:
        for call in left:
            await call

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
