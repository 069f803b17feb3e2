"""A watch over a real connection: what it asks for, and every way in which it can end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.api.servers import kubeconfig_text, serving

from berth_api.client import (
    ApiClient,
    ApiError,
    DeadlineExceeded,
    Forbidden,
    Gone,
    Unauthorized,
    Unavailable,
    WatchEvent,
)
from berth_api.client.credentials import Credentials
from berth_api.client.transports import Transport
from berth_api.kinds import HYPERVISOR, VIRTUAL_MACHINE

Script = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


def event(kind: str, name: str, version: int, **fields: Any) -> bytes:
    body = {"metadata": {"name": name, "resourceVersion": str(version)}, **fields}
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


@asynccontextmanager
async def streaming(script: Script, folder: Path) -> AsyncIterator[ApiClient]:
    """A client of a server whose every answer is what the script writes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await script(request, response)
        return response

    async with serving(answer, folder) as client:
        yield client


async def told(client: ApiClient) -> list[WatchEvent]:
    async with aclosing(client.watch(HYPERVISOR, resource_version="1")) as watch:
        return [each async for each in watch]


async def test_a_watch_tells_what_happens_and_ends(tmp_path: Path) -> None:
    large = "x" * 300_000

    async def script(_: web.Request, response: web.StreamResponse) -> None:
        await response.write(event("ADDED", "a", 2) + event("MODIFIED", "a", 3, spec={"large": large})[:1000])
        await response.write(event("MODIFIED", "a", 3, spec={"large": large})[1000:])
        await response.write(event("DELETED", "a", 4) + event("BOOKMARK", "", 9))

    async with streaming(script, tmp_path) as client:
        events = await told(client)
    assert [(each.type, each.version) for each in events] == [
        ("ADDED", "2"),
        ("MODIFIED", "3"),
        ("DELETED", "4"),
        ("BOOKMARK", "9"),
    ]
    assert events[1].object["spec"]["large"] == large


async def test_a_watch_says_from_where_of_what_and_how_long(tmp_path: Path) -> None:
    asked: list[tuple[str, dict[str, str], str]] = []

    async def record(request: web.Request, _: web.StreamResponse) -> None:
        asked.append((request.path, dict(request.query), request.headers["Authorization"]))

    async with streaming(record, tmp_path) as client:
        watch = client.watch(
            VIRTUAL_MACHINE,
            "ns",
            resource_version="17",
            field_selector="status.nodeName=n1",
            label_selector="a in (b,c)",
            timeout_seconds=40,
        )
        assert [each async for each in watch] == []
    query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "17", "timeoutSeconds": "40"}
    selectors = {"fieldSelector": "status.nodeName=n1", "labelSelector": "a in (b,c)"}
    path = "/apis/berth.dev/v1alpha1/namespaces/ns/virtualmachines"
    assert asked == [(path, query | selectors, "Bearer first")]


async def test_an_event_of_a_kind_that_nobody_knows_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(_: web.Request, response: web.StreamResponse) -> None:
        await response.write(event("RENAMED", "a", 2) + event("ADDED", "b", 3))

    async with streaming(script, tmp_path) as client:
        assert [each.version for each in await told(client)] == ["3"]
    assert "unknown event 'RENAMED'" in caplog.text


async def lose(request: web.Request, _: web.StreamResponse) -> None:
    assert request.transport is not None
    request.transport.abort()


async def cut_in_half(_: web.Request, response: web.StreamResponse) -> None:
    await response.write(event("ADDED", "b", 3)[:20])


async def babble(_: web.Request, response: web.StreamResponse) -> None:
    await response.write(b"<html>gateway timeout</html>\n")


async def expire(_: web.Request, response: web.StreamResponse) -> None:
    body = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    await response.write(json.dumps({"type": "ERROR", "object": body}).encode() + b"\n")


@pytest.mark.parametrize(
    ("ending", "kind"), [(lose, Unavailable), (cut_in_half, Unavailable), (babble, Unavailable), (expire, Gone)]
)
async def test_what_was_told_before_the_end_counts(tmp_path: Path, ending: Script, kind: type[ApiError]) -> None:
    read = asyncio.Event()

    async def script(request: web.Request, response: web.StreamResponse) -> None:
        await response.write(event("ADDED", "a", 2))
        await read.wait()
        await ending(request, response)

    async with streaming(script, tmp_path) as client, aclosing(client.watch(HYPERVISOR, resource_version="1")) as watch:
        assert (await anext(watch)).version == "2"
        read.set()
        with pytest.raises(ApiError) as error:
            await anext(watch)
    assert type(error.value) is kind


@pytest.mark.parametrize(("code", "kind"), [(410, Gone), (403, Forbidden), (401, Unauthorized), (503, Unavailable)])
async def test_a_watch_that_is_refused_says_why(tmp_path: Path, code: int, kind: type[ApiError]) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "message": "why"}, status=code)

    async with serving(refuse, tmp_path) as client:
        with pytest.raises(kind, match="why"):
            await told(client)


async def test_a_token_that_ran_out_is_renewed_before_a_watch(tmp_path: Path) -> None:
    async def check(request: web.Request) -> web.Response:
        if request.headers["Authorization"] == "Bearer second":
            return web.Response(body=event("ADDED", "a", 2))
        (tmp_path / "kubeconfig").write_text(kubeconfig_text(f"http://{request.host}", "second"))
        return web.json_response({}, status=401)

    async with serving(check, tmp_path) as client:
        assert [each.version for each in await told(client)] == ["2"]


async def test_a_server_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await asyncio.Event().wait()
        return response

    async with serving(answer, tmp_path):
        credentials = await Credentials.read(tmp_path / "kubeconfig")
        transport = Transport(credentials, user_agent="t", deadline=10.0)
        try:
            async with aclosing(transport.stream("/watch", query={}, silence=0.1)) as pieces:
                assert await anext(pieces) == b"first"
                with pytest.raises(DeadlineExceeded, match=r"silent for 0\.1 s"):
                    await anext(pieces)
        finally:
            await transport.close()


async def test_a_watch_that_is_never_opened_meets_the_deadline(tmp_path: Path) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(never, tmp_path, deadline=0.1) as client:
        with pytest.raises(DeadlineExceeded, match=r"within 0\.1 s"):
            await told(client)


async def test_a_cancelled_watch_hangs_up(tmp_path: Path) -> None:
    opened, hung_up = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        opened.set()
        await reader.read()
        hung_up.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig_text(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "t"))
    async with server, await ApiClient.connect(path, user_agent="t") as client:
        watching = asyncio.create_task(told(client))
        await opened.wait()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        await asyncio.wait_for(hung_up.wait(), 5)
