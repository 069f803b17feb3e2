"""Finish what must not be cut off.

A cancelled attach that skipped DEL would leak the address (containerd 5569), so clean-up runs to its end in a task of
its own, and the cancellation goes on only afterwards. Every clean-up ends by its own deadlines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end even when cancelled, and raise the cancellation then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # Retrieved: the cancellation is what the caller hears of.
        raise cancelled
    return task.result()
