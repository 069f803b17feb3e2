"""One HTTP request to the API server: authorized, bounded in time, and answered with JSON or a typed error."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from yarl import URL

from berth_api.client.credentials import Connection, Credentials
from berth_api.client.errors import ApiError, DeadlineExceeded, Unauthorized, Unavailable, from_answer
from berth_api.client.sessions import open_session

CONNECTIONS = 100
_OK_BELOW = 400


class Transport:
    """Sends requests over one pool of connections."""

    def __init__(
        self, credentials: Credentials, *, user_agent: str, deadline: float, connections: int = CONNECTIONS
    ) -> None:
        self._credentials = credentials
        self._session = open_session(credentials.configuration, user_agent=user_agent, connections=connections)
        self._deadline = deadline

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def connection(self) -> Connection:
        """The server and credentials in use."""
        return await self._credentials.connection()

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send a request and return the object that answers it.

        The deadline covers the whole of it, with reading the answer and one more try where a token had run out.

        Raises:
            ApiError: The server refuses, cannot be reached, or does not answer in time.
        """
        url = self._url(path, query)
        data = None if body is None else _dump(body)
        try:
            async with asyncio.timeout(self._deadline):
                answer = await self._request(method, url, data, content_type)
                try:
                    content = await answer.read()
                finally:
                    answer.release()
        except TimeoutError as error:
            raise self._late(method, path) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(method, path, error) from error
        return _parse(answer.status, content)

    async def stream(self, path: str, *, query: Mapping[str, str], silence: float) -> AsyncGenerator[bytes, None]:
        """Send a GET request and yield the answer's bytes as they arrive, in pieces of any length, until its end.

        Args:
            path: As for `send`.
            query: As for `send`.
            silence: Seconds without a byte after which the server counts as lost; until the answer begins, the
                deadline of all calls counts.

        Raises:
            ApiError: The server refuses, cannot be reached, does not answer in time, falls silent or breaks off.
        """
        try:
            async with asyncio.timeout(self._deadline):
                answer = await self._request("GET", self._url(path, query), None, "")
        except TimeoutError as error:
            raise self._late("GET", path) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _lost("GET", path, error) from error
        try:
            while True:
                async with asyncio.timeout(silence):
                    piece = await answer.content.readany()
                if not piece:
                    return
                yield piece
        except TimeoutError as error:
            raise DeadlineExceeded(0, "Timeout", f"GET {path}: the API server is silent for {silence:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _lost("GET", path, error) from error
        finally:
            answer.close()

    def _url(self, path: str, query: Mapping[str, str] | None) -> URL:
        url = self._credentials.configuration.host + quote(path)
        return URL(f"{url}?{_encode(tuple(query.items()))}" if query else url, encoded=True)

    async def _request(self, method: str, url: URL, data: bytes | None, content_type: str) -> aiohttp.ClientResponse:
        """The beginning of an answer that is no refusal; where a token had run out, of the second try."""
        try:
            return await self._request_once(method, url, data, content_type)
        except Unauthorized:
            if not await self._credentials.renew():
                raise
            return await self._request_once(method, url, data, content_type)

    async def _request_once(
        self, method: str, url: URL, data: bytes | None, content_type: str
    ) -> aiohttp.ClientResponse:
        headers = {"Content-Type": content_type} if data is not None else {}
        if authorization := await self._credentials.authorization():
            headers["Authorization"] = authorization
        configuration = self._credentials.configuration
        answer = await self._session.request(
            method,
            url,
            data=data,
            headers=headers,
            server_hostname=configuration.tls_server_name or None,
            proxy_headers=configuration.proxy_headers,
        )
        if answer.status >= _OK_BELOW:
            raise await _refusal(answer)
        return answer

    def _late(self, method: str, path: str) -> DeadlineExceeded:
        message = f"{method} {path}: no answer from the API server within {self._deadline:g} s"
        return DeadlineExceeded(0, "Timeout", message)


async def _refusal(answer: aiohttp.ClientResponse) -> ApiError:
    try:
        content = await answer.read()
    finally:
        answer.release()
    return from_answer(answer.status, content, answer.headers.get("Retry-After"))


def _lost(method: str, path: str, error: Exception) -> Unavailable:
    return Unavailable(0, "", f"{method} {path}: {error or type(error).__name__}")


@lru_cache(maxsize=256)
def _encode(query: tuple[tuple[str, str], ...]) -> str:
    return urlencode(query, quote_via=quote)


def _dump(body: Any) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:
        # Half a surrogate pair, from a name that is not UTF-8, or a number of more than 64 bits.
        return json.dumps(body).encode()


def _parse(status: int, content: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(content)
    except ValueError as error:
        raise Unavailable(status, "", f"the API server's answer is not JSON: {content[:80]!r}") from error
    if not isinstance(value, dict):
        raise Unavailable(status, "", f"the API server's answer is no object: {content[:80]!r}")
    return value
