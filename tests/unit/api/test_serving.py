"""Pages over HTTP, at the addresses that settings name."""

import socket
from collections.abc import Mapping

import aiohttp
import pytest
from aiohttp import web

from berth_api.serving import CannotServe, serving


def free_port() -> int:
    with socket.create_server(("", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def page(_: web.Request) -> web.Response:
    return web.Response(text="here")


async def answers(port: int) -> Mapping[str, str]:
    """What both families' loopback addresses say."""
    found = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session:
        for host in ("127.0.0.1", "[::1]"):
            try:
                async with session.get(f"http://{host}:{port}/page") as response:
                    found[host] = await response.text()
            except aiohttp.ClientConnectorError:
                found[host] = "refused"
    return found


async def test_a_page_at_every_address_is_served_to_both_families() -> None:
    port = free_port()
    async with serving({f"http://[::]:{port}/page": page}):
        assert await answers(port) == {"127.0.0.1": "here", "[::1]": "here"}
    assert await answers(port) == {"127.0.0.1": "refused", "[::1]": "refused"}


async def test_a_page_at_one_address_is_served_nowhere_else() -> None:
    port = free_port()
    async with serving({f"http://127.0.0.1:{port}/page": page}):
        assert await answers(port) == {"127.0.0.1": "here", "[::1]": "refused"}


@pytest.mark.parametrize("host", ["127.0.0.1", "[::]"])
async def test_a_port_that_somebody_has_is_told(host: str) -> None:
    port = free_port()
    async with serving({f"http://{host}:{port}/page": page}):
        with pytest.raises(CannotServe, match=str(port)):
            async with serving({f"http://{host}:{port}/other": page}):
                pytest.fail("two listen at one port")
