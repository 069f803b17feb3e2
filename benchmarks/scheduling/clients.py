"""A client of the API server that costs little: it shares two cores with what it measures.

It speaks plain HTTP with JSON and reads only what it must: a watch looks at the first bytes of a line, and leaves
the rest unparsed.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

import aiohttp
import orjson

CONCURRENCY = 64
"""Requests at once: enough to keep the API server busy, few enough that they do not wait for each other."""
PAGE = 500
DEADLINE = 60.0
_ERROR = 400
_NOT_FOUND = 404
_BUSY = {429, 503, 504}
"""Too many requests; not yet ready; its cache has not come as far as the page before this one."""
_ENTERED = b'{"type":"ADDED"'
_BROKEN = b'{"type":"ERROR"'
_IN_VAIN = 10
_T = TypeVar("_T")


class RefusedError(RuntimeError):
    """The API server refused a request, and why."""


class BusyError(RefusedError):
    """It asks to be asked again later."""


class Client:
    """The administrator's requests."""

    def __init__(self, url: str, ca: Path, token: str) -> None:
        self._url = url
        self._ssl = ssl.create_default_context(cafile=str(ca))
        self._token = token
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._url,
            connector=aiohttp.TCPConnector(ssl=self._ssl, limit=CONCURRENCY + 8),
            headers={"Authorization": f"Bearer {self._token}", "User-Agent": "berth-benchmark"},
            timeout=aiohttp.ClientTimeout(total=DEADLINE),
            read_bufsize=2**20,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: str = "application/json",
        accept: str = "*/*",
        may_be_gone: bool = False,
    ) -> bytes:
        """Send a request and return the body of the answer; with `may_be_gone`, also where there is no such object.

        Raises:
            RefusedError: The server answers with an error.
            aiohttp.ClientError: It does not answer.
            TimeoutError: Not within `DEADLINE`.
        """
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content, "Accept": accept}
        async with self._session.request(method, path, data=data, headers=headers) as answer:
            read = await answer.read()
        if answer.status >= _ERROR and not (may_be_gone and answer.status == _NOT_FOUND):
            error = BusyError if answer.status in _BUSY else RefusedError
            raise error(f"{method} {path}: {answer.status} {read[:500].decode(errors='replace')}")
        return read

    async def pages(self, path: str, *, metadata_only: bool = False) -> AsyncIterator[list[dict[str, Any]]]:
        """The objects of a collection, page by page."""
        kind = ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1" if metadata_only else ""
        query = {"limit": str(PAGE)}
        while True:
            answer = orjson.loads(
                await self.send("GET", f"{path}?{urlencode(query)}", accept=f"application/json{kind}")
            )
            yield answer.get("items") or []
            token = answer["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def is_empty(self, path: str) -> bool:
        """Whether a collection has no object."""
        return not orjson.loads(await self.send("GET", f"{path}?limit=1")).get("items")

    @asynccontextmanager
    async def arrivals(self, path: str, field_selector: str) -> AsyncIterator["Arrivals"]:
        """Watch objects enter a selection, from now on: those that have a node enter it when they are bound.

        Args:
            path: The collection's.
            field_selector: The selection. One by inequality is best: the API server ends watches that do not keep up,
                and those by an indexed field that equals something have the shortest queue.
        """
        listed = orjson.loads(await self.send("GET", f"{path}?{urlencode({'limit': '1'})}"))
        seen = Arrivals(listed["metadata"]["resourceVersion"])
        reader = asyncio.create_task(seen.follow(lambda version: self._watch(path, field_selector, version)))
        try:
            yield seen
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader

    @asynccontextmanager
    async def _watch(self, path: str, field_selector: str, version: str) -> AsyncIterator[aiohttp.StreamReader]:
        query = urlencode({"watch": "1", "fieldSelector": field_selector, "resourceVersion": version})
        no_limit = aiohttp.ClientTimeout(total=None, sock_connect=DEADLINE)
        async with self._session.get(f"{path}?{query}", timeout=no_limit) as answer:
            if answer.status >= _ERROR:
                raise RefusedError(f"watching {path}: {answer.status} {(await answer.read())[:500]!r}")
            yield answer.content


class Arrivals:
    """What a watch has told of objects that entered its selection.

    Attributes:
        times: `time.perf_counter()` at which each was seen to enter.
        names: Where it is a mapping, name → time of each is put there, too, which costs parsing.
    """

    def __init__(self, version: str) -> None:
        self.times: list[float] = []
        self.names: dict[str, float] | None = None
        self._version = version
        self._last = b""
        self._in_vain = 0
        self._news = asyncio.Event()
        self._failure: Exception | None = None

    async def follow(self, watch: Callable[[str], AbstractAsyncContextManager[aiohttp.StreamReader]]) -> None:
        """Watch, and watch again from the last event where the server ends a watch, for as long as that leads on."""
        try:
            while True:
                async with watch(self._version) as stream:
                    await self._read(stream)
                self._move_on()
        except (aiohttp.ClientError, OSError, RefusedError) as error:
            self._failure = error
            self._news.set()

    def _move_on(self) -> None:
        """Continue behind the last event; a busy server may end a watch before it has told anything, but not often."""
        before = self._version
        if self._last:
            self._version = orjson.loads(self._last)["object"]["metadata"]["resourceVersion"]
        self._in_vain = self._in_vain + 1 if self._version == before else 0
        if self._in_vain > _IN_VAIN:
            raise RefusedError(f"the API server ended {self._in_vain} watches that had told nothing")

    async def _read(self, stream: aiohttp.StreamReader) -> None:
        """Take in a watch's answer: a JSON document a line."""
        rest = b""
        with suppress(aiohttp.ClientPayloadError):
            async for chunk in stream.iter_any():
                now = time.perf_counter()
                *lines, rest = (rest + chunk).split(b"\n")
                self._take(lines, now)

    def _take(self, lines: Iterable[bytes], now: float) -> None:
        for line in lines:
            if line.startswith(_BROKEN):
                raise RefusedError(f"the watch is broken: {line[:500].decode(errors='replace')}")
            self._last = line
            if line.startswith(_ENTERED):
                self.times.append(now)
                if self.names is not None:
                    self.names[orjson.loads(line)["object"]["metadata"]["name"]] = now
                self._news.set()

    async def news(self, timeout: float) -> bool:  # noqa: ASYNC109 - running out of it is an answer here
        """Wait for the next arrival; False if there is none for `timeout` seconds.

        Raises:
            Exception: The watch is over, and why.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._news.wait()
        arrived = self._news.is_set()
        self._news.clear()
        if self._failure is not None:
            raise self._failure
        return arrived


async def for_each(items: Iterable[_T], act: Callable[[_T], Awaitable[object]]) -> None:
    """Do something with each item, `CONCURRENCY` of them at once; the first error ends it."""
    remaining = iter(items)

    async def work() -> None:
        for item in remaining:
            await act(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(work())
