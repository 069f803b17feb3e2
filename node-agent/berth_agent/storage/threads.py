"""Blocking work off the event loop, in a way that a cancelled caller cannot pull files from under a running thread.

A thread cannot be cancelled. If its caller went on at once, it would close or delete what the thread still writes to,
and a closed file's number may by then belong to another. So a cancelled caller waits for the thread, then is cancelled:
the work that is handed over is therefore one bounded piece, a chunk or a directory, never a whole image.
"""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def run_in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run the function in a thread and return what it returns; when cancelled, wait for its end first."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            try:
                await asyncio.wait({running})
            except asyncio.CancelledError:
                continue
        if not running.cancelled():
            running.exception()  # retrieved: the caller is gone, and asyncio would log it as never retrieved
        raise
