"""A queue of keys to work on, as controllers have it: what both halves of Berth put between a watch and their work.

A key that is added again while it waits is worked on once; one that is added while it is being worked on is worked on
again afterwards, never twice at the same time. So work is always done on the newest state, in order for one key and
side by side for different ones. Work that fails is tried again with growing, jittered waits.
Source: k8s.io/client-go/util/workqueue.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from random import Random
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger()

K = TypeVar("K", bound=Hashable)

Work = Callable[[K], Awaitable[float | None]]
"""Works on a key; returns the seconds after which to do so again even if nobody asks, or None."""


class WorkQueue(Generic[K]):
    """Works on keys, `workers` at a time. `first_retry` and `last_retry` bound the wait after a failure, in seconds."""

    def __init__(
        self,
        work: Work[K],
        *,
        name: str,
        workers: int,
        random: Random,
        first_retry: float = 0.5,
        last_retry: float = 60.0,
    ) -> None:
        self._work = work
        self._name = name
        self._workers = workers
        self._random = random
        self._first_retry = first_retry
        self._last_retry = last_retry
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}

    def __len__(self) -> int:
        """Keys that wait to be worked on now."""
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Have the key worked on as soon as a worker is free."""
        self._cancel_timer(key)
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key worked on after a while, unless it is before."""
        when = asyncio.get_running_loop().time() + seconds
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= when:
            return
        self._cancel_timer(key)
        self._timers[key] = asyncio.get_running_loop().call_at(when, self.add, key)

    async def run(self) -> None:
        """Work until cancelled; what is being worked on is cancelled too, and awaited."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._run_worker())
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def drained(self) -> None:
        """Wait until nothing waits or is worked on; timers do not count. For tests and an orderly end."""
        await self._ready.join()

    async def _run_worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._working.add(key)
            try:
                await self._work_on(key)
            finally:
                self._working.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)
                self._ready.task_done()

    async def _work_on(self, key: K) -> None:
        try:
            again_after = await self._work(key)
        except Exception as error:  # the outermost layer: whatever failed is logged and tried again
            wait = self._retry_wait(key)
            log.warning("work failed", queue=self._name, key=str(key), retry_after=round(wait, 2), exc_info=error)
            self.add_after(key, wait)
            return
        self._failures.pop(key, None)
        if again_after is not None:
            self.add_after(key, again_after)

    def _retry_wait(self, key: K) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = min(self._last_retry, self._first_retry * 2.0 ** min(failures - 1, 32))
        return wait * (1 + 0.25 * self._random.random())

    def _cancel_timer(self, key: K) -> None:
        with suppress(KeyError):
            self._timers.pop(key).cancel()
