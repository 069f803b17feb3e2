"""Servers on loopback that answer as a test says, and a client of theirs."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from berth_api.client import ApiClient

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def kubeconfig_text(server: str, token: str) -> str:
    return json.dumps(
        {
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


@asynccontextmanager
async def serving(
    answer: Answer, folder: Path, *, deadline: float = 10.0, connections: int = 100
) -> AsyncIterator[ApiClient]:
    """A client of a server that gives this answer to everything."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    path = folder / "kubeconfig"
    path.write_text(kubeconfig_text(str(server.make_url("")), "first"))
    try:
        async with await ApiClient.connect(
            path, user_agent="berth-test/1", deadline=deadline, connections=connections
        ) as client:
            yield client
    finally:
        await server.close()
