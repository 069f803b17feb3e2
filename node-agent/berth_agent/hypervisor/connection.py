"""The connection to libvirtd: kept, watched, replaced.

libvirtd may be restarted, killed or hang at any moment, and guests run on. One connection is there for events and to
notice that libvirtd is gone: it closes the socket, or leaves keepalives unanswered (stopped, deadlocked). Then a new
one is opened, with growing pauses. Calls go over connections of their own (`lanes`).

One attempt to open is under way at a time, as an attempt can hang as well: a stopped libvirtd's socket still accepts.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import libvirt
import structlog

from berth_agent.hypervisor.calls import BlockingCalls
from berth_agent.hypervisor.errors import HypervisorError, Unavailable
from berth_agent.hypervisor.event_loop import start_event_loop
from berth_agent.hypervisor.failures import translate
from berth_agent.hypervisor.lanes import Lanes, close, open_connection
from berth_agent.hypervisor.latencies import Observe, ignore_call, observed
from berth_agent.hypervisor.settings import LibvirtSettings

log = structlog.get_logger()
T = TypeVar("T")

Register = Callable[[Any], list[int]]
"""Registers event callbacks at a connection, in a thread, and returns their ids."""


@dataclass(eq=False)
class Session:
    """One connection for events, from opening to its end."""

    handle: Any
    callbacks: list[int]
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""

    def lose(self, why: str) -> None:
        """The connection is of no use any more."""
        if not self.lost.is_set():
            self.why = why
            self.lost.set()


class LibvirtConnection:
    """A connection that comes back. Use as an async context manager.

    Args:
        settings: Where libvirtd is, and how patient to be.
        register: Registers the event callbacks at each new connection.
        on_connected: Told of each new connection.
        on_disconnected: Told why there is none any more.
        observe: Told of each call that has ended, or is not waited for any more.
    """

    def __init__(
        self,
        settings: LibvirtSettings,
        *,
        register: Register,
        on_connected: Callable[[], None],
        on_disconnected: Callable[[str], None],
        observe: Observe = ignore_call,
    ) -> None:
        self._settings = settings
        self._register = register
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._observe = observe
        self._session: Session | None = None
        self._connected = asyncio.Event()
        self._openings = BlockingCalls(1, late_calls_hold_places=True)
        self._closings = BlockingCalls(1, late_calls_hold_places=True)
        self._lanes = Lanes(settings, settings.concurrency)
        self._guest_lanes = Lanes(settings, settings.guest_concurrency)
        self._supervision: asyncio.Task[None] | None = None
        self._last_failure = "no attempt was made yet"

    async def __aenter__(self) -> Self:
        """Begin to connect; whether it succeeds is for `wait_connected`."""
        start_event_loop()
        self._supervision = asyncio.create_task(self._supervise(), name="libvirt-connection")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close. A call that is under way keeps its connection until it ends."""
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.wait([self._supervision])
        if self._session is not None:
            await self._retire(self._session)
        for lanes in (self._lanes, self._guest_lanes):
            await self._close(lanes.close)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._session is not None

    async def wait_connected(self) -> None:
        """Return when there is a connection."""
        await self._connected.wait()

    async def call(self, function: Callable[[Any], T], deadline: float, *, subject: str = "") -> T:
        """Call a function with a connection, in a thread.

        Args:
            function: What to do.
            deadline: Seconds.
            subject: What it changes: see `BlockingCalls.run`.

        Raises:
            Unavailable: there is no connection, or it broke.
            DeadlineExceeded: no answer in time.
            HypervisorError: libvirt's error, by its code.
        """
        return await self._run(self._lanes, function, deadline, subject)

    async def ask_guest(self, function: Callable[[Any], T], deadline: float, *, subject: str = "") -> T:
        """Call a function that waits for a guest, apart from all calls that do not. Otherwise as `call`."""
        return await self._run(self._guest_lanes, function, deadline, subject)

    async def _run(self, lanes: Lanes, function: Callable[[Any], T], deadline: float, subject: str) -> T:
        name = getattr(function, "func", function).__name__
        with observed(name, self._observe):
            if self._session is None:
                raise Unavailable(f"libvirtd is not reachable: {self._last_failure}")
            return await lanes.run(function, name, deadline, subject)

    async def _supervise(self) -> None:
        pause = self._settings.backoff_first
        while True:
            try:
                session = await self._open()
            except HypervisorError as error:
                self._last_failure = str(error)
                log.warning("cannot connect to libvirtd", uri=self._settings.uri, error=str(error), retry_in=pause)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads attempts
                pause = min(pause * 2, self._settings.backoff_most)
                continue
            pause = self._settings.backoff_first
            await self._serve(session)

    async def _serve(self, session: Session) -> None:
        self._session = session
        self._connected.set()
        self._on_connected()
        log.info("connected to libvirtd", uri=self._settings.uri)
        await session.lost.wait()
        self._last_failure = session.why
        log.warning("lost the connection to libvirtd", uri=self._settings.uri, error=session.why)
        await self._retire(session)

    async def _open(self) -> Session:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Session] = loop.create_future()

        def lose(why: str) -> None:
            opened.add_done_callback(lambda done: None if done.cancelled() else done.result().lose(why))

        def closed(_handle: Any, reason: int, _opaque: Any) -> None:
            try:
                loop.call_soon_threadsafe(lose, _CLOSE_REASONS.get(reason, "closed"))
            except RuntimeError:  # the loop was closed before the connection
                log.debug("libvirtd closed a connection that nobody uses")

        def open_session() -> Session:
            return _open(self._settings, self._register, closed)

        deadline = self._settings.deadlines.connect
        try:
            session = await self._openings.run(open_session, deadline=deadline, discard=_close)
        except libvirt.libvirtError as error:
            raise translate(error, broken=True) from error
        opened.set_result(session)
        return session

    async def _retire(self, session: Session) -> None:
        self._session = None
        self._connected.clear()
        self._on_disconnected(session.why or "closed by us")

        def retire() -> None:
            _close(session)
            self._lanes.drop_idle()
            self._guest_lanes.drop_idle()

        await self._close(retire)

    async def _close(self, close_all: Callable[[], None]) -> None:
        try:
            await self._closings.run(close_all, deadline=self._settings.deadlines.connect)
        except HypervisorError as error:
            log.warning("could not close a connection to libvirtd", error=str(error))


_CLOSE_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "the connection broke",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirtd closed the connection",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "libvirtd did not answer keepalives",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "closed by us",
}


def _open(settings: LibvirtSettings, register: Register, closed: Callable[[Any, int, Any], None]) -> Session:
    session = Session(open_connection(settings), [])
    try:
        session.handle.registerCloseCallback(closed, None)
        session.callbacks += register(session.handle)
    except libvirt.libvirtError:
        _close(session)
        raise
    return session


def _close(session: Session) -> None:
    """Close a connection that may be broken: callbacks hold it open, so they go first, as far as that works."""
    for callback in session.callbacks:
        _try(session.handle.domainEventDeregisterAny, callback)
    _try(session.handle.unregisterCloseCallback)
    close(session.handle)


def _try(step: Callable[..., object], *arguments: object) -> None:
    try:
        step(*arguments)
    except libvirt.libvirtError as error:
        log.debug("closing a connection to libvirtd", error=str(error))
