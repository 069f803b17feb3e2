"""The connection to libvirtd: kept, watched, replaced.

libvirtd may be restarted, killed or hang at any moment, and guests run on. What breaks the connection: libvirtd closing
it, keepalives that go unanswered (a stopped or deadlocked libvirtd), or too many calls that do not come back although
keepalives do (its workers all wait for something). Each ends the *session*; a new one is opened, with growing pauses.

One attempt to open is under way at a time, as an attempt can hang as well (a stopped libvirtd's socket still accepts).
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import libvirt
import structlog

from berth_agent.hypervisor.calls import BlockingCalls
from berth_agent.hypervisor.errors import HypervisorError, Unavailable
from berth_agent.hypervisor.event_loop import start_event_loop
from berth_agent.hypervisor.failures import is_broken, translate
from berth_agent.hypervisor.settings import LibvirtSettings

log = structlog.get_logger()
P = ParamSpec("P")
T = TypeVar("T")

OnEvent = Callable[..., None]
Register = Callable[[Any], list[int]]
"""Registers event callbacks at a connection, in a thread, and returns their ids."""


@dataclass(eq=False)
class Session:
    """One connection, from opening to its end."""

    handle: Any
    callbacks: list[int]
    calls: BlockingCalls
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
    """

    def __init__(
        self,
        settings: LibvirtSettings,
        *,
        register: Register,
        on_connected: Callable[[], None],
        on_disconnected: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._register = register
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._session: Session | None = None
        self._connected = asyncio.Event()
        self._openings = BlockingCalls(concurrency=1)
        self._replaced: list[BlockingCalls] = []
        self._supervision: asyncio.Task[None] | None = None
        self._last_failure = "no attempt was made yet"

    async def __aenter__(self) -> Self:
        """Begin to connect; whether it succeeds is for `wait_connected`."""
        start_event_loop()
        self._supervision = asyncio.create_task(self._supervise(), name="libvirt-connection")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close. Calls under way are left behind."""
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.wait([self._supervision])
        if self._session is not None:
            await self._retire(self._session)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._session is not None

    async def wait_connected(self) -> None:
        """Return when there is a connection."""
        await self._connected.wait()

    async def call(
        self, function: Callable[Concatenate[Any, P], T], deadline: float, *arguments: P.args, **keywords: P.kwargs
    ) -> T:
        """Call a function with the connection, in a thread.

        Raises:
            Unavailable: there is no connection, or it broke.
            DeadlineExceeded: no answer in time.
            HypervisorError: libvirt's error, by its code.
        """
        session = self._session
        if session is None:
            raise Unavailable(f"libvirtd is not reachable: {self._last_failure}")

        def call() -> T:
            try:
                return function(session.handle, *arguments, **keywords)
            except libvirt.libvirtError as error:
                raise translate(error, broken=is_broken(session.handle)) from error

        call.__name__ = function.__name__
        try:
            return await session.calls.run(call, deadline=deadline)
        except Unavailable as error:
            session.lose(str(error))
            raise

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
        abandoned = sum(calls.late for calls in self._replaced)
        self._replaced = [calls for calls in self._replaced if calls.late]
        if abandoned > self._settings.abandoned_limit:
            raise Unavailable(f"{abandoned} calls to libvirtd never came back: it hangs, restart it")
        loop = asyncio.get_running_loop()
        early: list[str] = []
        sessions: list[Session] = []

        def lose(why: str) -> None:
            if sessions:
                sessions[0].lose(why)
            else:
                early.append(why)

        def closed(_handle: Any, reason: int, _opaque: Any) -> None:
            try:
                loop.call_soon_threadsafe(lose, _CLOSE_REASONS.get(reason, "closed"))
            except RuntimeError:  # the loop was closed before the connection
                log.debug("libvirtd closed a connection that nobody uses")

        def open_connection() -> tuple[Any, list[int]]:
            return _open(self._settings, self._register, closed)

        deadline = self._settings.deadlines.connect
        try:
            handle, callbacks = await self._openings.run(open_connection, deadline=deadline, discard=_close_both)
        except libvirt.libvirtError as error:
            raise translate(error) from error
        session = Session(handle, callbacks, BlockingCalls(self._settings.concurrency, lambda: self._check(session)))
        sessions.append(session)
        if early:
            session.lose(early[0])
        return session

    def _check(self, session: Session) -> None:
        if session.calls.late >= self._settings.stuck_limit:
            session.lose(f"{session.calls.late} calls did not come back")

    async def _retire(self, session: Session) -> None:
        self._session = None
        self._connected.clear()
        self._replaced.append(session.calls)
        self._on_disconnected(session.why or "closed by us")
        closing = BlockingCalls(concurrency=1)
        try:
            await closing.run(_close, session.handle, session.callbacks, deadline=self._settings.deadlines.connect)
        except HypervisorError as error:
            log.warning("could not close a connection to libvirtd", error=str(error))
            self._replaced.append(closing)


_CLOSE_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "the connection broke",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirtd closed the connection",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "libvirtd did not answer keepalives",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "closed by us",
}


def _open(
    settings: LibvirtSettings, register: Register, closed: Callable[[Any, int, Any], None]
) -> tuple[Any, list[int]]:
    handle = libvirt.open(settings.uri)
    callbacks: list[int] = []
    try:
        handle.registerCloseCallback(closed, None)
        handle.setKeepAlive(settings.keepalive_interval, settings.keepalive_count)
        callbacks += register(handle)
    except libvirt.libvirtError:
        _close(handle, callbacks)
        raise
    return handle, callbacks


def _close_both(opened: tuple[Any, list[int]]) -> None:
    _close(*opened)


def _close(handle: Any, callbacks: list[int]) -> None:
    """Close a connection that may be broken: callbacks hold it open, so they go first, as far as that works."""
    for step in (
        *((handle.domainEventDeregisterAny, callback) for callback in callbacks),
        (handle.unregisterCloseCallback,),
        (handle.close,),
    ):
        try:
            step[0](*step[1:])
        except libvirt.libvirtError as error:
            log.debug("closing a connection to libvirtd", error=str(error))
