"""What guests' agents say of their guests: asked when the agent connects, every few minutes, and on demand.

A guest that says something new every time must not cause a stream of writes to the API server: after news nothing is
asked for a minute, however often its agent comes and goes. That minute is kept until the VM is forgotten.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from berth_agent.guests.statuses import settle
from berth_agent.hypervisor.errors import HypervisorError
from berth_agent.hypervisor.states import GuestInfo
from berth_api.backoffs import doubled

log = structlog.get_logger()


_STILL_BOOTING = 3
"""Answers without any address that a guest may give before they count: its agent is up before its network is, and news
is told once a minute at most."""


class Informants(Protocol):
    """The part of the hypervisor's port that asks guests' agents."""

    async def guest_info(self, uid: str) -> GuestInfo:
        """What the guest's agent says of the guest."""
        ...


@dataclass(frozen=True)
class Intervals:
    """When guests are asked, in seconds."""

    regular: float = 300.0
    """Between questions, give or take a tenth."""
    quiet: float = 60.0
    """After news, at least: what a hostile guest can cause is one write per minute."""
    least: float = 10.0
    """Between any two questions."""
    retry_first: float = 15.0
    """After a question without an answer; doubled with each more, up to `regular`."""
    deadline: float = 30.0
    """For one answer. The hypervisor gives up much earlier; this is for one that does not."""


@dataclass
class _Guest:
    """What is known of one guest, and the task that asks it while its agent is connected."""

    info: GuestInfo | None = None
    not_before: float = 0.0
    """By the loop's clock: when it may be asked again."""
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Guests:
    """What all guests of this node say of themselves. All methods but `close` return at once.

    Args:
        informants: asks guests' agents.
        changed: called with the VM's UID when a guest says something else than before.
        jitter: gives shares from 0 to 1.
        intervals: when to ask.
        at_once: guests asked at the same time.
    """

    def __init__(
        self,
        informants: Informants,
        changed: Callable[[str], None],
        jitter: Callable[[], float],
        intervals: Intervals | None = None,
        *,
        at_once: int = 2,
    ) -> None:
        self._informants = informants
        self._changed = changed
        self._jitter = jitter
        self._intervals = intervals or Intervals()
        self._places = asyncio.Semaphore(at_once)
        self._guests: dict[str, _Guest] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def connected(self, uid: str) -> None:
        """The guest's agent is there: ask it from now on. May be said again and again."""
        guest = self._guests.setdefault(uid, _Guest())
        if guest.task is None:
            guest.task = asyncio.create_task(self._follow(uid, guest), name=f"information of {uid}")
            self._tasks.add(guest.task)
            guest.task.add_done_callback(self._ended)

    def disconnected(self, uid: str) -> None:
        """The guest's agent is gone: ask no more, and keep what it said last. May be said again and again."""
        if uid in self._guests:
            self._stop(self._guests[uid])

    def forget(self, uid: str) -> None:
        """The guest is off, or is not this node's any more."""
        guest = self._guests.pop(uid, None)
        if guest is not None:
            self._stop(guest)

    def look(self, uid: str) -> None:
        """Ask the guest as soon as it may be asked again, if its agent is connected."""
        if uid in self._guests:
            self._guests[uid].wanted.set()

    def of(self, uid: str) -> GuestInfo | None:
        """What the guest has said last, settled; None: nothing yet."""
        guest = self._guests.get(uid)
        return guest.info if guest is not None else None

    async def close(self) -> None:
        """Ask nobody any more, and wait until nothing is under way."""
        for uid in list(self._guests):
            self.forget(uid)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _stop(self, guest: _Guest) -> None:
        if guest.task is not None:
            guest.task.cancel()
            guest.task = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that a bug has ended begins anew when the agent is said to be connected again."""
        self._tasks.discard(task)
        if task.cancelled():
            return
        for guest in self._guests.values():
            if guest.task is task:
                guest.task = None
        log.error("asking a guest ended by an error", task=task.get_name(), exc_info=task.exception())

    async def _follow(self, uid: str, guest: _Guest) -> None:
        loop, times = asyncio.get_running_loop(), self._intervals
        failures, answered = 0, False
        while True:
            await asyncio.sleep(guest.not_before - loop.time())
            guest.wanted.clear()
            info = await self._ask(uid)
            guest.not_before = loop.time() + times.least
            if info is not None and not info.interfaces and not answered and failures < _STILL_BOOTING:
                pause, failures = times.least, failures + 1
            elif info is None:
                pause = doubled(times.retry_first, failures, times.regular)
                failures += 1
            else:
                # A guest that has just come up says more in a moment: its network is configured after its agent is up.
                pause = times.regular * (0.9 + 0.2 * self._jitter()) if answered else times.quiet
                failures, answered = 0, True
                if info != guest.info:
                    guest.info, guest.not_before = info, loop.time() + times.quiet
                    self._changed(uid)
            await self._pause(guest, pause)

    async def _ask(self, uid: str) -> GuestInfo | None:
        try:
            async with self._places, asyncio.timeout(self._intervals.deadline):
                return settle(await self._informants.guest_info(uid))
        except (HypervisorError, TimeoutError) as error:
            log.debug("the guest's agent tells nothing", uid=uid, error=str(error) or "deadline exceeded")
            return None

    async def _pause(self, guest: _Guest, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await guest.wanted.wait()
        except TimeoutError:
            return
