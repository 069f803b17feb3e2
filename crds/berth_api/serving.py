"""Pages for probes and for Prometheus, over HTTP, for as long as a context lasts.

Served in the event loop that does the work, on purpose: a loop that hangs answers no probe either.
"""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import web

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]
ANY = "::"
"""Every address of the machine, of both families."""
_SHUTDOWN_SECONDS = 1.0


class CannotServe(Exception):
    """A page cannot be served where the settings say."""


@asynccontextmanager
async def serving(pages: Mapping[str, Page]) -> AsyncIterator[None]:
    """Serve pages for as long as the context lasts.

    Args:
        pages: By URL, for example `http://[::]:9090/metrics`: the address and port to listen at, and the path. Those
            of one address and port share a listener. `[::]` is every address of both families that there are.

    Raises:
        CannotServe: nobody may listen there, or somebody else does.
    """
    listeners: dict[tuple[str | None, int | None], dict[str, Page]] = {}
    for url, page in pages.items():
        where = urlsplit(url)
        listeners.setdefault((where.hostname, where.port), {})[where.path or "/"] = page
    async with AsyncExitStack() as stack:
        for (host, port), paths in listeners.items():
            app = web.Application()
            app.router.add_routes(web.get(path, page) for path, page in paths.items())
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            try:
                await _site(runner, host, port).start()
            except OSError as error:
                raise CannotServe(f"nothing can be served at {host}:{port}: {error}") from error
        yield


def _site(runner: web.AppRunner, host: str | None, port: int | None) -> web.BaseSite:
    """A listener; asyncio's own would keep `[::]` to IPv6, and kubelets ask the address that their cluster prefers.

    Raises:
        OSError: nobody may listen there, or somebody else does.
    """
    if host != ANY or port is None:
        return web.TCPSite(runner, host, port)
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    return web.SockSite(runner, socket.create_server(("", port), family=family, dualstack_ipv6=dual))
