"""Resolving a stranger's host name without lending it the agent's threads.

getaddrinfo(3) blocks for as long as a name's server cares not to answer, half a minute and more, and cannot be
interrupted. In asyncio's default pool, which has a handful of threads, a few VMs with such an image URL would stop
every file and hypervisor call of the agent. So names are resolved in threads of their own, few of them: where all of
them hang, further downloads fail by their connect deadline, and nothing else waits.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

GetAddrInfo = Callable[..., list[tuple[Any, ...]]]


class BoundedResolver(AbstractResolver):
    """At most `threads` look-ups at a time, counting those that nobody waits for any more."""

    def __init__(self, threads: int, *, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> None:
        self._free = asyncio.Semaphore(threads)
        self._getaddrinfo = getaddrinfo

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of the host.

        Raises:
            OSError: the name cannot be resolved.
        """
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

        def finish(found: list[tuple[Any, ...]] | None, error: Exception | None) -> None:
            self._free.release()
            if answer.done():  # cancelled: the deadline was shorter than the look-up
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found or [])

        def look_up() -> None:
            found, failed = None, None
            try:
                found = self._getaddrinfo(
                    host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
                )
            except OSError as error:
                failed = error
            except Exception as error:  # noqa: BLE001 - it goes to the caller, as what a resolver may raise
                failed = OSError(None, f"{host[:100]!r} cannot be resolved: {error}")
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(finish, found, failed)

        # A daemon, so that a name that hangs does not hold up the end of the process.
        threading.Thread(target=look_up, name="berth-resolver", daemon=True).start()
        return [_result(host, found) for found in await answer]

    async def close(self) -> None:
        """Nothing is open."""


def _result(host: str, found: tuple[Any, ...]) -> ResolveResult:
    family, _, protocol, _, sockaddr = found
    zoned = family == socket.AF_INET6 and sockaddr[3]
    return ResolveResult(
        hostname=host,
        host=f"{sockaddr[0]}%{sockaddr[3]}" if zoned else sockaddr[0],
        port=sockaddr[1],
        family=family,
        proto=protocol,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
