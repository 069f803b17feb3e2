"""Places for downloads: few begin at a time, for more would only divide the same link.

A download that goes on for long lends its place: a few servers that dribble their images, by ill will or for want of
anything better, must not keep all other images off the node.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """So many places, each kept for `lend_after` seconds at most."""

    def __init__(self, count: int, lend_after: float) -> None:
        self._free = asyncio.Semaphore(count)
        self._lend_after = lend_after

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a place, waiting for a free one."""
        await self._free.acquire()
        lent = False

        def lend() -> None:
            nonlocal lent
            lent = True
            self._free.release()

        lending = asyncio.get_running_loop().call_later(self._lend_after, lend)
        try:
            yield
        finally:
            lending.cancel()
            if not lent:
                self._free.release()
