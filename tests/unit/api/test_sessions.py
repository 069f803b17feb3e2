"""Proxies, connections and bodies: what the session takes from its surroundings, once."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.unit.api.servers import kubeconfig_text, serving

from berth_api.client import ApiClient
from berth_api.kinds import HYPERVISOR

ELSEWHERE = "http://api.invalid:8080"


async def asked_of_proxy(folder: Path, client_of: str = "", proxy_url: str = "") -> list[str]:
    """Ask for an object through whatever proxy is configured; the paths that the proxy was asked for."""
    path = folder / "kubeconfig"
    config = json.loads(kubeconfig_text(client_of or ELSEWHERE, "t"))
    if proxy_url:
        config["clusters"][0]["cluster"]["proxy-url"] = proxy_url
    path.write_text(json.dumps(config))
    async with await ApiClient.connect(path, user_agent="t") as client:
        found = await client.get(HYPERVISOR, "n1")
    return [*found["asked"]]


@pytest.fixture
async def proxy() -> Any:
    """Answers everything with what it was asked."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"asked": [str(request.url), request.headers.get("Proxy-Authorization", "")]})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    yield server
    await server.close()


TARGET = f"{ELSEWHERE}/apis/berth.dev/v1alpha1/hypervisors/n1"


async def test_the_kubeconfigs_proxy_is_used(tmp_path: Path, proxy: TestServer) -> None:
    assert await asked_of_proxy(tmp_path, proxy_url=str(proxy.make_url(""))) == [TARGET, ""]


async def test_the_environments_proxy_is_used_with_its_password(
    tmp_path: Path, proxy: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", str(proxy.make_url("").with_user("u").with_password("p")))
    monkeypatch.setenv("no_proxy", "other.invalid")
    assert await asked_of_proxy(tmp_path) == [TARGET, "Basic dTpw"]


async def test_a_host_that_needs_no_proxy_gets_none(
    tmp_path: Path, proxy: TestServer, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = str(proxy.make_url("")).rstrip("/")
    assert await asked_of_proxy(tmp_path, client_of=server) == [f"{server}/apis/berth.dev/v1alpha1/hypervisors/n1", ""]


async def test_no_more_calls_are_under_way_than_connections_are_allowed(tmp_path: Path) -> None:
    under_way, most = 0, 0

    async def count(_: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return web.json_response({})

    async with serving(count, tmp_path, connections=2) as client:
        await asyncio.gather(*(client.get(HYPERVISOR, "n1") for _ in range(6)))
    assert most == 2


@pytest.mark.parametrize(
    "value", ["bad \udcff name", 2**70, "ü\u2028"], ids=["half a surrogate pair", "a large number", "text"]
)
async def test_whatever_a_body_holds_is_sent(tmp_path: Path, value: Any) -> None:
    seen = []

    async def record(request: web.Request) -> web.Response:
        seen.append(json.loads(await request.read()))
        return web.json_response({})

    async with serving(record, tmp_path) as client:
        await client.create(HYPERVISOR, {"metadata": {"name": "n"}, "spec": {"value": value}})
    assert seen[0]["spec"] == {"value": value}
