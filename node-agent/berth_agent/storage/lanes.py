"""Threads for files that may hang, apart by where the files are: a file system that is away holds up only its own work.

A call to a network file system whose server is gone does not return, and its thread cannot be ended. In one pool of
threads for all a few such calls would leave nothing for anybody else. So each storage pool has threads of its own, and
once a call there is overdue, all others there fail at once instead of waiting too, until that call has come back.

Nobody may close, delete or make anew what a thread still works on. So a cancelled caller waits for what changes files,
until it is overdue; then it is left behind like a look, and as nothing else is done there before it has come back, it
still has its files to itself.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

from berth_agent.storage.errors import StorageHangs

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 32
"""At most, for each place: what waits for a disk waits beside its like."""
PATIENCE = 10.0
"""Seconds that a look may take before its place counts as hanging: more than a busy disk needs for a directory or a
header, and less than anybody notices who waits for a VM."""
_CHANGES = 6
"""How many times as long a change may take: to sync a file, or to free the blocks of a large one."""


class Lane:
    """The threads for one place.

    Args:
        place: What users know it by, for messages.
        patience: Seconds after which a look is overdue; a change is later.
        threads: Calls under way at once.
    """

    def __init__(self, place: str, *, patience: float = PATIENCE, threads: int = THREADS) -> None:
        self._place = place
        self._patience = patience
        self._free = asyncio.Semaphore(threads)
        self._executor = ThreadPoolExecutor(threads, f"files-{place}")
        self._due: dict[Future[Any], float] = {}

    async def look(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what only reads, and whose result may be dropped.

        Raises:
            StorageHangs: no answer in time, or an earlier call has not come back yet.
        """
        call = await self._begin(partial(function, *args, **kwargs), self._patience)
        return await self._outcome(call, self._patience)

    async def change(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what changes files; a caller who is cancelled waits for its end first, until it is overdue.

        Raises:
            StorageHangs: no end in time, or an earlier call has not come back yet, so this one was not made.
        """
        within = self._patience * _CHANGES
        call = await self._begin(partial(function, *args, **kwargs), within)
        due = asyncio.get_running_loop().time() + within
        try:
            return await self._outcome(call, within)
        except asyncio.CancelledError:
            await _see_end(call, due)
            raise

    async def _outcome(self, call: "asyncio.Future[T]", within: float) -> T:
        """What the call returns; one that has ended is never overdue, however late the loop comes to see that."""
        await asyncio.wait({call}, timeout=within)
        if not call.done():
            raise self._hangs()
        try:
            return call.result()
        except TimeoutError as error:  # the file system's own
            raise self._hangs() from error

    async def _begin(self, function: Callable[[], T], within: float) -> "asyncio.Future[T]":
        if self._is_hanging():
            raise self._hangs()
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError as error:
            raise self._hangs() from error
        loop = asyncio.get_running_loop()
        call = self._executor.submit(function)
        self._due[call] = loop.time() + within
        call.add_done_callback(partial(self._tell, loop))
        awaited = asyncio.wrap_future(call)
        awaited.add_done_callback(_retrieve)
        return awaited

    def _tell(self, loop: asyncio.AbstractEventLoop, call: Future[Any]) -> None:
        """From the thread into the loop."""
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            loop.call_soon_threadsafe(self._ended, call)

    def _ended(self, call: Future[Any]) -> None:
        del self._due[call]
        self._free.release()

    def _is_hanging(self) -> bool:
        """Whether a call is overdue. A loop that stood still, or was stopped, has yet to be told of some that ended."""
        now = asyncio.get_running_loop().time()
        return any(due <= now and not call.done() for call, due in self._due.items())

    def _hangs(self) -> StorageHangs:
        return StorageHangs(
            f"{self._place} does not answer: is its file system's server there? It is tried again by itself"
        )


def _retrieve(call: "asyncio.Future[Any]") -> None:
    """Whoever asked may be gone, and asyncio would log the error as never retrieved."""
    if not call.cancelled():
        call.exception()


async def _see_end(call: "asyncio.Future[Any]", due: float) -> None:
    """Wait until the call has ended, or is overdue, however often the caller is cancelled."""
    loop = asyncio.get_running_loop()
    while not call.done() and loop.time() < due:
        try:
            await asyncio.wait({call}, timeout=due - loop.time())
        except asyncio.CancelledError:
            continue


class Lanes:
    """A lane for each storage pool, made when it is first used.

    Args:
        patience: see `Lane`.
    """

    def __init__(self, *, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._lanes: dict[str, Lane] = {}

    def of(self, pool_name: str) -> Lane:
        """The lane of a storage pool."""
        lane = self._lanes.get(pool_name)
        if lane is None:
            lane = self._lanes[pool_name] = Lane(f"the storage pool {pool_name}", patience=self._patience)
        return lane
