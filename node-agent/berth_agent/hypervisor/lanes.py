"""Connections for calls: each serves one call at a time, and as many are open as calls are under way.

libvirt's client lets several threads share a connection, in theory. In libvirt 9.0 two calls waiting on one connection
lose wake-ups or use freed memory when it breaks: seen here as calls that no keepalive ever ends, and as crashes of the
whole process. A connection is also never closed while a call is under way on it, for the same reason. One call per
connection avoids both, and libvirtd's limit of five requests per client as well, so that a call to a guest that hangs
holds up nobody else's.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import libvirt
import structlog

from berth_agent.hypervisor.calls import BlockingCalls
from berth_agent.hypervisor.errors import Unavailable
from berth_agent.hypervisor.failures import is_broken, translate
from berth_agent.hypervisor.settings import LibvirtSettings

log = structlog.get_logger()
T = TypeVar("T")


class Lanes:
    """Connections that are opened as calls need them and used again while they last.

    Args:
        settings: Where libvirtd is, and how patient to be.
        concurrency: Calls under way at once.
    """

    def __init__(self, settings: LibvirtSettings, concurrency: int) -> None:
        self._settings = settings
        self._concurrency = concurrency
        self._calls = BlockingCalls(concurrency, late_calls_hold_places=False)
        self._idle: deque[Any] = deque()
        self._closed = False

    async def run(self, function: Callable[[Any], T], name: str, deadline: float, subject: str = "") -> T:
        """Call the function with a connection of its own for the time, in a thread.

        Raises:
            Unavailable: libvirtd cannot be reached, or too many calls never came back.
            DeadlineExceeded: no answer in time.
            HypervisorError: libvirt's error, by its code.
        """
        if self._calls.late > self._settings.abandoned_limit:
            raise Unavailable(f"{self._calls.late} calls to libvirtd never came back: it hangs, restart it")

        def call() -> T:
            return self._use(function)

        call.__name__ = name
        return await self._calls.run(call, deadline=deadline, subject=subject)

    def drop_idle(self) -> None:
        """Close the connections that nobody uses now."""
        while self._idle:
            close(self._idle.pop())

    def close(self) -> None:
        """Close them all: those in use when their call ends."""
        self._closed = True
        self.drop_idle()

    def _use(self, function: Callable[[Any], T]) -> T:
        try:
            handle = self._take()
        except libvirt.libvirtError as error:
            raise translate(error, broken=True) from error
        try:
            return function(handle)
        except libvirt.libvirtError as error:
            raise translate(error, broken=is_broken(handle)) from error
        finally:
            self._give_back(handle)

    def _take(self) -> Any:
        while self._idle:
            try:
                handle = self._idle.pop()
            except IndexError:  # another thread took it
                break
            if not is_broken(handle):
                return handle
            close(handle)
        return open_connection(self._settings)

    def _give_back(self, handle: Any) -> None:
        if self._closed or len(self._idle) >= self._concurrency or is_broken(handle):
            close(handle)
        else:
            self._idle.append(handle)


def open_connection(settings: LibvirtSettings) -> Any:
    """A connection that notices when libvirtd is gone.

    Raises:
        libvirt.libvirtError: libvirtd cannot be reached.
    """
    handle = libvirt.open(settings.uri)
    try:
        handle.setKeepAlive(settings.keepalive_interval, settings.keepalive_count)
    except libvirt.libvirtError:
        close(handle)
        raise
    return handle


def close(handle: Any) -> None:
    """Close a connection, which may be broken. No call may be under way on it."""
    try:
        handle.close()
    except libvirt.libvirtError as error:
        log.debug("closing a connection to libvirtd", error=str(error))
