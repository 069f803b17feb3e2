"""Events to whoever listens, without waiting for anybody.

A listener that does not keep up loses events rather than holding memory without bound: it is told EventsLost instead,
upon which it has to look at everything, as after a reconnect.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from berth_agent.hypervisor.states import ConnectionChange, ConnectionEvent, HypervisorEvent

DEPTH = 4096
"""Events kept for one listener: the boot of a thousand guests."""


class Subscriptions:
    """Everybody who listens."""

    def __init__(self, depth: int = DEPTH) -> None:
        self._depth = depth
        self._queues: set[asyncio.Queue[HypervisorEvent]] = set()

    @contextmanager
    def subscribe(self) -> Iterator[AsyncIterator[HypervisorEvent]]:
        """Listen to everything that is published from now on."""
        queue: asyncio.Queue[HypervisorEvent] = asyncio.Queue(self._depth)
        self._queues.add(queue)
        try:
            yield _read(queue)
        finally:
            self._queues.discard(queue)

    def publish(self, event: HypervisorEvent) -> None:
        """Hand the event to everybody who listens."""
        for queue in self._queues:
            if queue.full():
                _drain(queue)
                queue.put_nowait(
                    ConnectionEvent(ConnectionChange.EVENTS_LOST, "events came faster than they were read")
                )
            queue.put_nowait(event)


async def _read(queue: asyncio.Queue[HypervisorEvent]) -> AsyncIterator[HypervisorEvent]:
    while True:
        yield await queue.get()


def _drain(queue: asyncio.Queue[HypervisorEvent]) -> None:
    while not queue.empty():
        queue.get_nowait()
