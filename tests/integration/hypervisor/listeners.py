"""Waiting for what the hypervisor tells, and for what nobody tells."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

from berth_agent.hypervisor.ports import HypervisorPort
from berth_agent.hypervisor.states import (
    ConnectionChange,
    ConnectionEvent,
    DomainEvent,
    DomainEventKind,
    HypervisorEvent,
)

DEADLINE = 90.0
_PAUSE = 0.02


class Heard:
    """Every event since the listening began."""

    def __init__(self) -> None:
        self.events: list[HypervisorEvent] = []
        self._more = asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def of(cls, hypervisor: HypervisorPort) -> AsyncIterator[Self]:
        """Listen to a hypervisor."""
        heard = cls()
        async with hypervisor.events() as events:
            task = asyncio.create_task(heard._listen(events))
            try:
                yield heard
            finally:
                task.cancel()

    async def domain(self, kind: DomainEventKind, uid: str) -> DomainEvent:
        """The first event of this kind about the VM's domain, waiting for it."""

        def is_it(event: HypervisorEvent) -> bool:
            return isinstance(event, DomainEvent) and (event.kind, event.owner.uid) == (kind, uid)

        found = await self._first(is_it)
        assert isinstance(found, DomainEvent)
        return found

    async def connection(self, change: ConnectionChange) -> ConnectionEvent:
        """The first change of the connection of this kind, waiting for it."""
        found = await self._first(lambda event: isinstance(event, ConnectionEvent) and event.change is change)
        assert isinstance(found, ConnectionEvent)
        return found

    def kinds(self) -> list[DomainEventKind]:
        """Kinds of the domain events so far."""
        return [event.kind for event in self.events if isinstance(event, DomainEvent)]

    async def _first(self, wanted: Callable[[HypervisorEvent], bool]) -> HypervisorEvent:
        async with asyncio.timeout(DEADLINE), self._more:
            await self._more.wait_for(lambda: any(map(wanted, self.events)))
            return next(filter(wanted, self.events))

    async def _listen(self, events: AsyncIterator[HypervisorEvent]) -> None:
        async for event in events:
            async with self._more:
                self.events.append(event)
                self._more.notify_all()


async def until(met: Callable[[], bool], what: str) -> None:
    """Poll for what nobody tells: a file's content, a process that ends."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not met():  # noqa: ASYNC110 - nobody sets an event for a file's content
                await asyncio.sleep(_PAUSE)
    except TimeoutError as error:
        raise AssertionError(f"waited {DEADLINE:g} s in vain: {what}") from error
