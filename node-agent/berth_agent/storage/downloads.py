"""Fetching an image over HTTP from a server that nobody trusts.

Every way in which a server can waste the node is bounded: it may not answer, answer one byte an hour, send more than it
announced, less, compressed, without end, or send the agent elsewhere. Integrity is not this module's: the digest of
what came decides, so plain http and a redirect from https to http are acceptable.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.errors import (
    CertificateInvalid,
    DownloadFailed,
    DownloadForbidden,
    DownloadStalled,
    DownloadTimedOut,
    DownloadTruncated,
    ImageNotFound,
    InvalidSource,
    StorageError,
)
from berth_agent.storage.settings import DownloadLimits
from berth_agent.storage.sinks import WRITE_BYTES, ImageSink
from berth_agent.storage.sources import HttpSource

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRY_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


async def download(
    source: HttpSource,
    sink: ImageSink,
    *,
    limits: DownloadLimits,
    destinations: DestinationPolicy,
    resolver: AbstractResolver,
) -> None:
    """Write what the URL answers into the sink, which keeps the size limits.

    Raises:
        InvalidSource: the URL is no http or https URL, or carries credentials.
        DestinationForbidden: it, or a redirect, leads to an address that is denied.
        ImageNotFound, DownloadForbidden: the server says no; asking again will not help.
        DownloadFailed, DownloadStalled, DownloadTimedOut, DownloadTruncated, CertificateInvalid: see there.
        ImageTooLarge, InsufficientStorage: from the sink.
    """
    url = parse_url(source.url)
    try:
        async with asyncio.timeout(limits.total_seconds), _session(limits, destinations, resolver) as session:
            await _follow(session, url, sink, limits)
    except TimeoutError as error:
        raise DownloadTimedOut(
            f"{source} did not arrive within {limits.total_seconds:g} s ({sink.received} bytes came): "
            f"use a nearer server, or raise the node's limit"
        ) from error


def parse_url(text: str) -> URL:
    """Read an http or https URL with a host and without credentials.

    Raises:
        InvalidSource: it is anything else.
    """
    try:
        url = URL(text)
        valid = url.scheme in {"http", "https"} and bool(url.host) and url.port is not None
    except ValueError as error:
        raise InvalidSource(f"{text[:200]!r} is not a URL: {error}") from error
    if not valid:
        raise InvalidSource(f"{text[:200]!r} is not an http or https URL with a host")
    if url.user is not None or url.password is not None:
        raise InvalidSource(f"the URL on {url.host} carries credentials, which everybody who sees the image could read")
    return url


def _shown(url: URL) -> str:
    """The URL for a message: without its query, where a redirect's signature would be, and not too long."""
    return str(url.with_query(None).with_fragment(None))[:200]


@asynccontextmanager
async def _session(
    limits: DownloadLimits, destinations: DestinationPolicy, resolver: AbstractResolver
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session of its own per download: no cookies, no proxy or netrc of the environment, no reused connection."""
    # Addresses are tried in order, not raced: a refusal must end the attempt, not lose a race.
    connector = aiohttp.TCPConnector(
        resolver=resolver,
        socket_factory=destinations.open_socket,
        happy_eyeballs_delay=None,
        force_close=True,
        use_dns_cache=False,
    )
    timeout = aiohttp.ClientTimeout(
        total=None, connect=limits.connect_seconds, sock_connect=limits.connect_seconds, sock_read=limits.stall_seconds
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "berth-agent"},
        read_bufsize=WRITE_BYTES,
    ) as session:
        yield session


async def _follow(session: aiohttp.ClientSession, url: URL, sink: ImageSink, limits: DownloadLimits) -> None:
    for _ in range(limits.max_redirects + 1):
        with _typed(url, limits):
            async with session.get(url, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    _refuse_other_than_ok(response)
                    await _receive(response, sink)
                    return
                url = _redirection(response)
    raise DownloadFailed(
        f"more than {limits.max_redirects} redirects, the last one to {_shown(url)}: use the final URL"
    )


def _redirection(response: aiohttp.ClientResponse) -> URL:
    location = response.headers.get("Location")
    if location is None:
        raise DownloadFailed(f"{_shown(response.url)} answers {response.status} without saying where to")
    try:
        return parse_url(str(response.url.join(URL(location))))
    except ValueError as error:
        raise DownloadFailed(f"{_shown(response.url)} redirects to something that is no URL: {error}") from error


def _refuse_other_than_ok(response: aiohttp.ClientResponse) -> None:
    status, answer = (
        response.status,
        f"{_shown(response.url)} answers {response.status} {(response.reason or '')[:80]}".rstrip(),
    )
    if status in _GONE:
        raise ImageNotFound(f"{answer}: correct the URL")
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _TRY_LATER:
        raise DownloadForbidden(f"{answer}: nodes fetch images without credentials, the server has to let them")
    if status != HTTPStatus.OK:
        raise DownloadFailed(answer)
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise DownloadFailed(
            f"{_shown(response.url)} insists on Content-Encoding {encoding[:40]}: serve the image as it is"
        )


async def _receive(response: aiohttp.ClientResponse, sink: ImageSink) -> None:
    if response.content_length is not None:
        sink.expect(response.content_length)
    while data := await response.content.readany():
        await sink.write(data)
    if response.content_length is not None and sink.received != response.content_length:
        raise DownloadTruncated(f"{_shown(response.url)} sent {sink.received} of {response.content_length} bytes")


@contextmanager
def _typed(url: URL, limits: DownloadLimits) -> Iterator[None]:
    """Turn aiohttp's errors into ours; the total deadline is no error here yet, but a cancellation."""
    try:
        yield
    except StorageError:
        raise
    except aiohttp.InvalidURL as error:
        raise InvalidSource(f"{_shown(url)!r} is not a URL that can be asked") from error
    except aiohttp.ConnectionTimeoutError as error:
        raise DownloadStalled(f"no connection to {_shown(url)} within {limits.connect_seconds:g} s") from error
    except aiohttp.ServerTimeoutError as error:
        raise DownloadStalled(f"{_shown(url)} sent nothing for {limits.stall_seconds:g} s") from error
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError) as error:
        raise DownloadTruncated(f"{_shown(url)} ended before the image did: {error}") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise CertificateInvalid(f"the certificate of {url.host} is not valid: {error.certificate_error}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise DownloadFailed(f"{_shown(url)} could not be fetched: {error}") from error
