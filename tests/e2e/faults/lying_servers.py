"""A server between an agent and the API server that does not say the truth about VirtualMachines.

It ends TLS with the API server's own certificate, passes everything on, credentials and all, and lies where it is told
to: about lists and watches of VMs, and about single ones where the lie is of that kind.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

PORT = 7500
_COLLECTION = "/apis/berth.dev/v1alpha1/virtualmachines"
_SINGLE = "/virtualmachines/"
_START_SECONDS = 10.0


class Lie(StrEnum):
    """What is said instead of the truth."""

    EMPTY_LIST = "an empty list, and a watch that says nothing"
    DELETED_EVENTS = "a watch that says that every VM was deleted"
    GONE = "410 Gone"
    FORBIDDEN = "403 Forbidden"
    TRUNCATED = "an answer that ends in the middle"
    GARBAGE = "no JSON"
    FAILURE = "500 Internal Server Error"


_OF_SINGLE_ONES = (Lie.FORBIDDEN, Lie.TRUNCATED, Lie.GARBAGE, Lie.FAILURE)
_CODES = {Lie.GONE: (410, "Expired"), Lie.FORBIDDEN: (403, "Forbidden"), Lie.FAILURE: (500, "InternalError")}


class LyingServer:
    """Lies from its start to its end: `with LyingServer(address, real_port, certificates) as server`.

    Args:
        address: The API server's, where it listens too.
        port: The API server's port.
        certificates: The folder with the API server's certificate and key.

    Attributes:
        lie: What it says.
        told: How often it has.
    """

    def __init__(self, address: str, port: int, certificates: Path) -> None:
        self.lie: Lie | None = None
        self.told = 0
        self._address, self._real = address, f"https://{address}:{port}"
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificates / "apiserver.crt", certificates / "apiserver.key")
        self._trust = ssl.create_default_context(cafile=str(certificates / "apiserver.crt"))
        self._loop = asyncio.new_event_loop()
        self._ready, self._ended = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_START_SECONDS), "the lying server does not listen"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        connector = TCPConnector(ssl=self._trust, limit=0)
        async with ClientSession(connector=connector, auto_decompress=False, timeout=ClientTimeout()) as session:
            app = web.Application(client_max_size=2**24)
            app.router.add_route("*", "/{path:.*}", self._answering(session))
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, self._address, PORT, ssl_context=self._tls).start()
            self._ready.set()
            await self._ended.wait()
            await runner.cleanup()

    def _answering(self, session: ClientSession) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            lie = self.lie
            listed, single = request.path == _COLLECTION, _SINGLE in request.path and lie in _OF_SINGLE_ONES
            if lie is None or request.method != "GET" or not (listed or single):
                return await self._pass_on(session, request)
            self.told += 1
            return await self._lie(session, request, lie)

        return answer

    async def _pass_on(self, session: ClientSession, request: web.Request) -> web.StreamResponse:
        url, body = f"{self._real}{request.raw_path}", await request.read()
        headers = {key: value for key, value in request.headers.items() if key not in ("Host", "Content-Length")}
        try:
            async with session.request(request.method, url, headers=headers, data=body or None) as real:
                answer = web.StreamResponse(status=real.status)
                answer.content_type = real.content_type
                for header in {"Content-Encoding", "Warning", "Retry-After"} & set(real.headers):
                    answer.headers[header] = real.headers[header]
                await answer.prepare(request)
                async for piece in real.content.iter_any():
                    await answer.write(piece)
                return answer
        except (ClientError, ConnectionError) as error:
            return web.json_response({"message": str(error)}, status=502)

    async def _lie(self, session: ClientSession, request: web.Request, lie: Lie) -> web.StreamResponse:
        watch = request.query.get("watch") in ("true", "1")
        if lie in _CODES:
            return _status(*_CODES[lie])
        if lie is Lie.GARBAGE:
            return web.Response(text='{"kind": "VirtualMachineList", "items": [{]}\n', content_type="application/json")
        if lie is Lie.EMPTY_LIST and not watch:
            listed = await self._read(session, request)
            return web.json_response({**listed, "items": []})
        if lie is Lie.DELETED_EVENTS and not watch:
            return await self._pass_on(session, request)
        if lie is Lie.TRUNCATED:
            return await _half(request, json.dumps(await self._read(session, request)).encode())
        return await self._watch(session, request, lie)

    async def _read(self, session: ClientSession, request: web.Request) -> dict[str, Any]:
        """What the API server says, without watching."""
        path = request.path
        headers = {"Authorization": request.headers.get("Authorization", ""), "Accept-Encoding": "identity"}
        selector = {"fieldSelector": request.query["fieldSelector"]} if "fieldSelector" in request.query else {}
        async with session.get(f"{self._real}{path}", headers=headers, params=selector) as real:
            read: dict[str, Any] = await real.json()
            return read

    async def _watch(self, session: ClientSession, request: web.Request, lie: Lie) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        if lie is Lie.DELETED_EVENTS:
            for item in (await self._read(session, request))["items"]:
                gone = {"apiVersion": "berth.dev/v1alpha1", "kind": "VirtualMachine", **item}
                await answer.write(json.dumps({"type": "DELETED", "object": gone}).encode() + b"\n")
        await self._ended.wait()
        return answer


def _status(code: int, reason: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": "no"}
    return web.json_response(body, status=code)


async def _half(request: web.Request, whole: bytes) -> web.StreamResponse:
    """Promise the whole, and hang up in the middle."""
    answer = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole))})
    await answer.prepare(request)
    await answer.write(whole[: len(whole) // 2])
    if request.transport is not None:
        request.transport.close()
    return answer
