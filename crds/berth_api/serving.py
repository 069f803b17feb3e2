"""Pages for probes and for Prometheus, over HTTP, for as long as a context lasts.

Served in the event loop that does the work, on purpose: a loop that hangs answers no probe either.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import web

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SHUTDOWN_SECONDS = 1.0


class CannotServe(Exception):
    """A page cannot be served where the settings say."""


@asynccontextmanager
async def serving(pages: Mapping[str, Page]) -> AsyncIterator[None]:
    """Serve pages for as long as the context lasts.

    Args:
        pages: By URL, for example `http://0.0.0.0:9090/metrics`: the address and port to listen at, and the path. Those
            of one address and port share a listener.

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
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                raise CannotServe(f"nothing can be served at {host}:{port}: {error}") from error
        yield
