"""A queue of keys: what changed is named, never described, and whoever works on it looks at the present state.

A key that is added twice is worked on once. A key that is added while it is being worked on is worked on again
afterwards, never twice at the same time: two writes about one object cannot cross. A key that fails comes back after a
pause that doubles each time, with jitter, so that many that failed together do not come back together.
As many keys are worked on at once as there are places. Work that waits for something which may never come (a server
that dribbles an image) steps aside and lends its place to others, or a few such would stop all.
Time is the event loop's, so tests run on virtual time.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Generic, TypeVar

from berth_api.backoffs import Backoff
from berth_api.client import ApiError, Conflict, TooManyRequests

__all__ = ["Backoff", "TryLater", "WorkQueue"]


class TryLater(Exception):
    """The work cannot be done now, for a reason that has been logged; it is no bug."""


_LOGGER = logging.getLogger(__name__)
_PATIENCE = 300.0
"""Seconds that work may go on for between two signs of life."""
_SLACK = 60.0
"""Seconds past its own deadline after which work that has not ended counts as stuck."""
K = TypeVar("K")


@dataclass
class _Work:
    """Work on a key that is under way."""

    due: float
    """When it should have shown a sign of life."""
    holds_place: bool = True


class WorkQueue(Generic[K]):
    """Keys to work on, each by one worker at a time."""

    def __init__(self, backoff: Backoff, random: Random) -> None:
        self._backoff, self._random = backoff, random
        self._ready: deque[K] = deque()
        self._dirty: dict[K, float] = {}
        """Keys that wait, and since when."""
        self._running: dict[K, _Work] = {}
        self._working: dict[asyncio.Task[None], K] = {}
        self._places = asyncio.Semaphore(1)
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._wakeup = asyncio.Event()
        self._open = True

    def __len__(self) -> int:
        return len(self._dirty)

    @property
    def oldest(self) -> float:
        """Seconds for which the key has waited that waits longest for a free place; 0 where none waits."""
        return self._time() - self._dirty[self._ready[0]] if self._ready else 0.0

    @property
    def running(self) -> int:
        """Keys that are being worked on, those that stepped aside included."""
        return len(self._running)

    @property
    def stuck(self) -> tuple[K, ...]:
        """Keys whose work should have ended, or shown a sign of life, and has not: a bug, or a call without a deadline.

        Others go on as long as places are left, but these never will.
        """
        now = self._time()
        return tuple(key for key, work in self._running.items() if now > work.due)

    def add(self, key: K) -> None:
        """Work on the key as soon as a place is free."""
        if key in self._dirty or not self._open:
            return
        self._dirty[key] = self._time()
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
        """Work on keys until cancelled, on so many at once. `work` returns None, or the seconds to look again after."""
        self._places = asyncio.Semaphore(workers)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._until_ready()
                    await self._places.acquire()
                    if not self._ready:  # closed meanwhile
                        self._places.release()
                        continue
                    key = self._ready.popleft()
                    del self._dirty[key]
                    self._running[key] = _Work(self._time() + _PATIENCE)
                    self._working[group.create_task(self._work_in_place(key, work), name=f"work on {key}")] = key
        finally:
            for key in tuple(self._running):  # cancelled before they began
                self._end(key)
            self._working.clear()

    @asynccontextmanager
    async def aside(self, *, within: float, after: float = 0.0) -> AsyncIterator[None]:
        """Lend the place of this work to others while it waits for something that may take long.

        The key stays what it is, being worked on: nobody else works on it meanwhile. Leaving the context takes a free
        place again, waiting for one if need be. To be used by the task that `work` runs in; elsewhere it does nothing.

        Args:
            within: Seconds after which what is waited for ends by its own deadline; past it the work counts as stuck.
            after: Seconds for which the place is kept: what is over sooner never lends it.
        """
        key = self._working.get(asyncio.current_task())  # type: ignore[arg-type]  # no task: no work
        work = self._running.get(key) if key is not None else None
        if work is None:
            yield
            return
        work.due = self._time() + within + _SLACK
        lending = asyncio.get_running_loop().call_later(after, self._lend, work)
        try:
            yield
        finally:
            lending.cancel()
            if not work.holds_place:
                work.due = inf  # what it waits for now is others' work, which has dues of its own
                await self._places.acquire()
                work.holds_place = True
            work.due = self._time() + _PATIENCE

    def _lend(self, work: _Work) -> None:
        if work.holds_place:
            work.holds_place = False
            self._places.release()

    def _fire(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()

    async def _until_ready(self) -> None:
        while not self._ready:
            self._wakeup.clear()
            await self._wakeup.wait()

    async def _work_in_place(self, key: K, work: Callable[[K], Awaitable[float | None]]) -> None:
        try:
            await self._work_on(key, work)
        finally:
            self._working.pop(asyncio.current_task(), None)  # type: ignore[arg-type]  # it is in a task
            self._end(key)

    def _end(self, key: K) -> None:
        if self._running.pop(key).holds_place:
            self._places.release()
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
