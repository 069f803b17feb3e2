"""A question that many ask at once: one answer serves all who asked before the question was sent.

Who asks while it is under way joins the next, so that no answer is older than the asking.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Question(Generic[_T]):
    """Sends one question at a time, whoever asks."""

    def __init__(self, send: Callable[[], Awaitable[_T]], name: str) -> None:
        self._send, self._name = send, name
        self._under_way: asyncio.Task[_T] | None = None
        self._next: asyncio.Task[_T] | None = None

    async def ask(self) -> _T:
        """The answer as it was after this was called. Raises what sending raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._under_way), name=self._name)
            self._next.add_done_callback(_take_error)
        return await asyncio.shield(self._next)

    async def _after(self, before: "asyncio.Task[_T] | None") -> _T:
        if before is not None:
            await asyncio.wait([before])
        self._under_way, self._next = self._next, None
        return await self._send()


def _take_error(task: "asyncio.Task[_T]") -> None:
    """Whoever asked has the error; where all gave up meanwhile, nobody needs it."""
    if not task.cancelled():
        task.exception()
