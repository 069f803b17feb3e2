"""libvirt's blocking calls, each in a thread of its own, with a deadline.

A call that hangs cannot be taken back: libvirt has no timeouts, and a QEMU that does not answer holds its call for
ever. So a late call is left behind and counted. Threads are daemon threads: one that hangs must not keep the agent from
ending, which the threads of concurrent.futures do.
"""

import asyncio
from collections.abc import Callable
from threading import Thread
from typing import Any, Generic, TypeVar

from berth_agent.hypervisor.errors import DeadlineExceeded

T = TypeVar("T")


class BlockingCalls:
    """At most so many calls at once, each with a deadline.

    Args:
        concurrency: Calls under way at once.
        late_calls_hold_places: Whether calls that nobody waits for any more count among them until they end.
    """

    def __init__(self, concurrency: int, *, late_calls_hold_places: bool) -> None:
        self._free = asyncio.Semaphore(concurrency)
        self._late_hold = late_calls_hold_places
        self._late: set[_Call[Any]] = set()

    @property
    def late(self) -> int:
        """Calls that nobody waits for any more, and that have not ended."""
        return len(self._late)

    async def run(
        self,
        function: Callable[..., T],
        *arguments: Any,
        deadline: float,
        discard: Callable[[T], object] | None = None,
        subject: str = "",
    ) -> T:
        """Call the function in a thread and wait for its result.

        Args:
            function: What blocks.
            arguments: Its arguments.
            deadline: Seconds, waiting for a free place included.
            discard: Called in the thread with the result of a call that nobody waits for any more.
            subject: What the call is about. While a late call about the same is under way, no other is made: what hangs
                once would hang again, until nothing is left for others.

        Raises:
            DeadlineExceeded: no result in time; the call goes on, and may still take effect.
        """
        name = getattr(function, "__name__", "call")
        if subject and any(late.subject == subject for late in self._late):
            raise DeadlineExceeded(f"an earlier call about {subject} has not come back yet, so {name} was not made")
        call: _Call[T] | None = None
        try:
            async with asyncio.timeout(deadline):
                await self._free.acquire()
                call = _Call(function, arguments, discard, self._ended, subject)
                return await call.result()
        except TimeoutError as error:
            raise DeadlineExceeded(f"libvirt did not answer {name} within {deadline:g} s") from error
        finally:
            if call is not None and not call.ended:
                self._left_behind(call)

    def _left_behind(self, call: "_Call[Any]") -> None:
        call.abandon()
        self._late.add(call)
        if not self._late_hold:
            self._free.release()

    def _ended(self, call: "_Call[Any]") -> None:
        if call not in self._late or self._late_hold:
            self._free.release()
        self._late.discard(call)


class _Call(Generic[T]):
    """One call in its thread."""

    def __init__(
        self,
        function: Callable[..., T],
        arguments: tuple[Any, ...],
        discard: Callable[[T], object] | None,
        on_end: Callable[["_Call[T]"], None],
        subject: str,
    ) -> None:
        self.subject = subject
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[T] = self._loop.create_future()
        self._function = function
        self._arguments = arguments
        self._discard = discard
        self._on_end = on_end
        self._abandoned = False
        self.ended = False
        Thread(target=self._run, name=f"libvirt-{getattr(function, '__name__', 'call')}", daemon=True).start()

    async def result(self) -> T:
        """What the call returns or raises."""
        return await asyncio.shield(self._outcome)

    def abandon(self) -> None:
        """Nobody waits for the result any more."""
        self._abandoned = True

    def _run(self) -> None:
        try:
            result = self._function(*self._arguments)
        except BaseException as error:  # noqa: BLE001 - carried over to whoever awaits the result
            self._tell(self._fail, error)
            return
        self._tell(self._succeed, result)

    def _tell(self, report: Callable[[Any], None], outcome: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(report, outcome)
        except RuntimeError:  # the loop was closed meanwhile: nobody waits
            if self._discard is not None and report == self._succeed:
                self._discard(outcome)

    def _succeed(self, result: T) -> None:
        self.ended = True
        self._on_end(self)
        if not self._abandoned:
            self._outcome.set_result(result)
        elif self._discard is not None:
            Thread(target=self._discard, args=(result,), name="libvirt-discard", daemon=True).start()

    def _fail(self, error: BaseException) -> None:
        self.ended = True
        self._on_end(self)
        if not self._abandoned:
            self._outcome.set_exception(error)
