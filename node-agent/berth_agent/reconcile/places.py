"""Who keeps his place in the queue while a step is taken, and who lends it to others.

A step that may take long (fetching an image) lends it after a moment: most are over by then. A guest's end is nothing
but waiting, for a QEMU to end and for libvirt to see it, so it is lent at once: what is left of guests that have ended
is taken down while the next ones end. Guests end so many at a time, or a node that is emptied would have all of
libvirtd's workers wait for QEMUs. Who waits for that keeps his place, and who has ended makes room before he takes a
place again: neither waits for the other.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from berth_agent.reconcile.plan.steps import DestroyDomain, Step
from berth_agent.reconcile.ports import Aside

ENDINGS = 15
"""Guests whose plug is being pulled at once: one less than calls to libvirt may be under way, so that all others can be
looked at while QEMUs do not die."""
_MOMENT = 1.0
"""Seconds for which a step that may take long keeps its VM's place."""


class Places:
    """The places of one node's VMs.

    Args:
        aside: Lends a place.
        endings: Guests that end at once.
    """

    def __init__(self, aside: Aside, endings: int = ENDINGS) -> None:
        self._aside = aside
        self._endings = asyncio.Semaphore(endings)

    @asynccontextmanager
    async def during(self, step: Step) -> AsyncIterator[None]:
        """Enter it around a step. One that does not end when it should lends its VM's place as well."""
        if isinstance(step, DestroyDomain):
            await self._endings.acquire()
            async with self._aside(within=step.deadline):
                try:
                    yield
                finally:
                    self._endings.release()
        else:
            async with self._aside(within=step.deadline, after=_MOMENT if step.interruptible else step.deadline):
                yield

    @asynccontextmanager
    async def lent(self, within: float) -> AsyncIterator[None]:
        """Enter it around what is nothing but waiting, for so many seconds at most."""
        async with self._aside(within=within):
            yield
