"""One HTTP request to the API server: authorized, bounded in time, and answered with JSON or a typed error."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio.client.rest import RESTClientObject

from berth_api.client.credentials import Connection, Credentials
from berth_api.client.errors import DeadlineExceeded, Unauthorized, Unavailable, from_answer

_OK_BELOW = 400


class Transport:
    """Sends requests over one pool of connections."""

    def __init__(self, credentials: Credentials, *, user_agent: str, deadline: float) -> None:
        self._credentials = credentials
        self._rest = RESTClientObject(credentials.configuration)
        self._user_agent = user_agent
        self._deadline = deadline

    async def close(self) -> None:
        """Close the connections."""
        await self._rest.close()

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
        url = self._credentials.configuration.host + quote(path)
        if query:
            url += "?" + urlencode(query, quote_via=quote)
        try:
            async with asyncio.timeout(self._deadline):
                try:
                    return await self._request(method, url, body, content_type)
                except Unauthorized:
                    if not await self._credentials.renew():
                        raise
                    return await self._request(method, url, body, content_type)
        except TimeoutError as error:
            message = f"{method} {path}: no answer from the API server within {self._deadline:g} s"
            raise DeadlineExceeded(0, "Timeout", message) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(0, "", f"{method} {path}: {error or type(error).__name__}") from error

    async def _request(self, method: str, url: str, body: Any, content_type: str) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": self._user_agent}
        if authorization := await self._credentials.authorization():
            headers["Authorization"] = authorization
        no_limit = aiohttp.ClientTimeout(total=None)
        answer = await self._rest.request(  # type: ignore[no-untyped-call]  # upstream has no annotations
            method, url, headers=headers, body=body, _request_timeout=no_limit
        )
        try:
            content = await answer.read()
        finally:
            answer.response.release()
        if answer.status >= _OK_BELOW:
            raise from_answer(answer.status, content, answer.headers.get("Retry-After"))
        return _parse(answer.status, content)


def _parse(status: int, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise Unavailable(status, "", f"the API server's answer is not JSON: {content[:80]!r}") from error
    if not isinstance(value, dict):
        raise Unavailable(status, "", f"the API server's answer is no object: {content[:80]!r}")
    return value
