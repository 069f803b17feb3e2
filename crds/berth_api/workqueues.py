"""A queue of keys: what changed is named, never described, and whoever works on it looks at the present state.

A key that is added twice is worked on once. A key that is added while it is being worked on is worked on again
afterwards, never twice at the same time: two writes about one object cannot cross. A key that fails comes back after a
pause that doubles each time, with jitter, so that many that failed together do not come back together.
Time is the event loop's, so tests run on virtual time.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Generic, TypeVar

from berth_api.backoffs import Backoff
from berth_api.client import ApiError, Conflict, TooManyRequests

__all__ = ["Backoff", "TryLater", "WorkQueue"]


class TryLater(Exception):
    """The work cannot be done now, for a reason that has been logged; it is no bug."""


_LOGGER = logging.getLogger(__name__)
K = TypeVar("K")


class WorkQueue(Generic[K]):
    """Keys to work on, each by one worker at a time."""

    def __init__(self, backoff: Backoff, random: Random) -> None:
        self._backoff, self._random = backoff, random
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._running: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wakeup = asyncio.Event()
        self._open = True

    def __len__(self) -> int:
        return len(self._dirty)

    def add(self, key: K) -> None:
        """Work on the key as soon as a worker is free."""
        if key in self._dirty or not self._open:
            return
        self._dirty.add(key)
        if key not in self._running:
            self._ready.append(key)
            self._wakeup.set()

    def add_after(self, key: K, delay: float) -> None:
        """Work on the key after `delay` seconds, or earlier where it is already planned earlier."""
        if not self._open:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        when = loop.time() + delay
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._fire, key)

    def open(self) -> None:
        """Take keys from now on."""
        self._open = True

    def close(self) -> None:
        """Forget all keys and failures, and take no more. Only while nobody works.

        Who only stands by would otherwise collect the keys of everything that ever was.
        """
        self._open = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._ready.clear()
        self._dirty.clear()
        self._failures.clear()

    async def run(self, work: Callable[[K], Awaitable[float | None]], workers: int) -> None:
        """Work on keys until cancelled. `work` returns None, or the seconds after which to look again."""
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._worker(work), name=f"worker {number}")

    def _fire(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    async def _take(self) -> K:
        while not self._ready:
            self._wakeup.clear()
            await self._wakeup.wait()
        return self._ready.popleft()

    async def _worker(self, work: Callable[[K], Awaitable[float | None]]) -> None:
        while True:
            key = await self._take()
            self._dirty.discard(key)
            self._running.add(key)
            try:
                await self._work_on(key, work)
            finally:
                self._running.discard(key)
                if key in self._dirty:
                    self._ready.append(key)
                    self._wakeup.set()

    async def _work_on(self, key: K, work: Callable[[K], Awaitable[float | None]]) -> None:
        try:
            again = await work(key)
        except Conflict as conflict:
            _LOGGER.debug("%s: %s; looking again", key, conflict)
            self._retry(key)
        except ApiError as error:
            level = logging.WARNING if error.retryable else logging.ERROR
            _LOGGER.log(level, "%s: the API server: %s", key, error)
            self._retry(key, error.retry_after if isinstance(error, TooManyRequests) else 0.0)
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            _LOGGER.warning("%s: something that the work waited for was cancelled; trying again later", key)
            self._retry(key)
        except TryLater as reason:
            _LOGGER.debug("%s: %s; looking again later", key, reason)
            self._retry(key)
        except Exception:
            _LOGGER.exception("%s: a bug; trying again later, the other objects go on", key)
            self._retry(key)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self.add_after(key, again)

    def _retry(self, key: K, at_least: float = 0.0) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, max(at_least, self._backoff.pause(failures, self._random)))


def _is_being_cancelled() -> bool:
    """Whether it is this worker that is to end: one that ended for less would be missing, and nobody would notice."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
