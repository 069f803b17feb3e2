"""Bindings that are being written, so many at once; and how they end when the leader's term does.

A term that ends by request (a rolling upgrade) ends after what was begun: a write that is cut off in the middle is done
or not done, nobody knows, and whoever leads next would have to find out. A term that was lost ends at once: what is
still to be written then must not be.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from berth_operator.leases import Leadership

_FINISH = 2.0
"""Seconds for which a leader that is told to end finishes what it writes: a write takes some milliseconds, and nobody
decides meanwhile."""


class Writes:
    """Tasks that hold a slot each.

    Args:
        slots: How many at once.
        clock: Seconds, of the leadership's clock.
    """

    def __init__(self, slots: int, clock: Callable[[], float]) -> None:
        self._slots, self._clock = asyncio.Semaphore(slots), clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def slot(self) -> None:
        """Wait for a free slot, and take it."""
        await self._slots.acquire()

    def give_back(self) -> None:
        """The slot that was taken is not needed."""
        self._slots.release()

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do this in the slot that was taken, and give that back afterwards. It has to catch its own errors."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    async def finish(self, leadership: Leadership) -> None:
        """Wait for what was begun, while the leadership lasts, but not for long; cut off the rest."""
        if not self._tasks:
            return
        left = max(0.0, min(_FINISH, leadership.until - self._clock()))
        try:
            await asyncio.wait(self._tasks, timeout=left)
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._slots.release()
