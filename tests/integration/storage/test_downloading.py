"""Images over HTTP: every way in which a server can answer, each with its typed error and nothing left behind."""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.errors import (
    CertificateInvalid,
    ChecksumMismatch,
    DestinationForbidden,
    DownloadFailed,
    DownloadForbidden,
    DownloadStalled,
    DownloadTimedOut,
    DownloadTruncated,
    ImageNotFound,
    ImageTooLarge,
    InsufficientStorage,
    InvalidSource,
    StorageError,
)
from berth_agent.storage.image_cache import ImageCache
from berth_agent.storage.settings import DownloadLimits
from berth_agent.storage.sources import HttpSource, ImageFormat

pytestmark = pytest.mark.integration

Serve = Callable[..., str]
Left = Callable[[], list[str]]
ANY = "sha256:" + "0" * 64


def checksum(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def refused(cache: ImageCache, url: str, kind: type[StorageError], *, checksum: str = ANY) -> StorageError:
    with pytest.raises(kind) as caught:
        await cache.ensure(HttpSource(url=url), checksum)
    return caught.value


async def test_an_image_is_fetched_verified_inspected_and_kept(
    cache: ImageCache, serve: Serve, qemu_img: Callable[..., bytes], requested: list[str]
) -> None:
    data = qemu_img("-f", "qcow2", size="64M")
    url = serve("/a", data)
    seen: list[tuple[int, int | None]] = []
    image = await cache.ensure(HttpSource(url=url), checksum(data), progress=lambda *at: seen.append(at))
    assert (image.format, image.virtual_size, image.size) == (ImageFormat.QCOW2, 64 << 20, len(data))
    assert image.path.read_bytes() == data
    assert image.path.stat().st_mode & 0o777 == 0o444
    assert seen[0] == (0, len(data))
    assert seen[-1] == (len(data), len(data))
    assert await cache.images() == (image,)
    assert await cache.ensure(HttpSource(url=url), checksum(data).upper().replace("SHA", "sha")) == image
    assert requested == ["/a"]


async def test_an_image_of_several_pieces_arrives_whole(cache: ImageCache, serve: Serve) -> None:
    data = bytes(range(256)) * 20_000 + b"odd"
    image = await cache.ensure(HttpSource(url=serve("/raw", data)), checksum(data))
    assert image.path.read_bytes() == data
    assert (image.format, image.virtual_size % 512, image.size) == (ImageFormat.RAW, 0, len(data))
    assert 0 <= image.virtual_size - len(data) < 512


async def test_a_wrong_checksum_names_both(cache: ImageCache, serve: Serve, left_behind: Left) -> None:
    error = await refused(cache, serve("/a", b"other" * 999), ChecksumMismatch)
    assert checksum(b"other" * 999) in str(error)
    assert ANY in str(error)
    assert not error.retryable
    assert left_behind() == []


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (404, ImageNotFound, False),
        (410, ImageNotFound, False),
        (401, DownloadForbidden, False),
        (403, DownloadForbidden, False),
        (400, DownloadForbidden, False),
        (408, DownloadFailed, True),
        (429, DownloadFailed, True),
        (500, DownloadFailed, True),
        (503, DownloadFailed, True),
        (204, DownloadFailed, True),
        (206, DownloadFailed, True),
        (304, DownloadFailed, True),
    ],
)
async def test_another_answer_than_ok_is_typed(
    cache: ImageCache, serve: Serve, left_behind: Left, *, status: int, kind: type[StorageError], retryable: bool
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    error = await refused(cache, serve("/a", answer), kind)
    assert error.retryable is retryable
    assert str(status) in str(error)
    assert left_behind() == []


async def test_a_server_that_never_answers_has_stalled(cache: ImageCache, serve: Serve, left_behind: Left) -> None:
    async def answer(_: web.Request) -> web.Response:
        return await asyncio.Future()

    error = await refused(cache, serve("/a", answer), DownloadStalled)
    assert error.retryable
    assert "sent nothing for 0.3 s" in str(error)
    assert left_behind() == []


async def test_a_server_that_stops_halfway_has_stalled(cache: ImageCache, serve: Serve, left_behind: Left) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000000"})
        await response.prepare(request)
        await response.write(bytes(300_000))
        return await asyncio.Future()

    await refused(cache, serve("/a", answer), DownloadStalled)
    assert left_behind() == []


async def test_a_port_that_does_not_accept_is_a_failure_to_retry(cache: ImageCache) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = await refused(cache, f"http://127.0.0.1:{taken.getsockname()[1]}/a", DownloadFailed)
    assert error.retryable


async def test_a_name_that_does_not_exist_is_a_failure_to_retry(cache: ImageCache) -> None:
    error = await refused(cache, "http://no-such-host.invalid/a", DownloadFailed)
    assert "no-such-host.invalid" in str(error)


@pytest.mark.parametrize("host", ["a" * 70 + ".example.org", "a..b", "-", "xn--", "%00", "a_b.invalid"])
async def test_a_name_that_could_not_exist_is_typed(cache: ImageCache, left_behind: Left, host: str) -> None:
    with pytest.raises((DownloadFailed, InvalidSource)):
        await cache.ensure(HttpSource(url=f"http://{host}/a"), ANY)
    assert left_behind() == []


async def test_a_server_that_drips_runs_into_the_total_deadline(images: Path, serve: Serve, left_behind: Left) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.05)

    cache = limited(images, stall_seconds=5, total_seconds=0.4)
    await cache.start()
    error = await refused(cache, serve("/a", answer), DownloadTimedOut)
    assert error.retryable
    assert left_behind() == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_download_that_ends_halfway_is_truncated(
    cache: ImageCache, serve: Serve, left_behind: Left, *, chunked: bool
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={} if chunked else {"Content-Length": "1000000"})
        await response.prepare(request)
        await response.write(bytes(300_000))
        assert request.transport is not None
        request.transport.close()
        return response

    error = await refused(cache, serve("/a", answer), DownloadTruncated, checksum=checksum(bytes(1_000_000)))
    assert error.retryable
    assert left_behind() == []


async def test_an_image_that_announces_too_much_is_refused_unread(
    cache: ImageCache, serve: Serve, left_behind: Left
) -> None:
    sent = []

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(1 << 60)})
        await response.prepare(request)
        try:
            await asyncio.sleep(10)
        finally:
            sent.append("ended")
        return response

    error = await refused(cache, serve("/a", answer), ImageTooLarge)
    assert str(1 << 60) in str(error)
    assert left_behind() == []


async def test_an_image_without_end_is_cut_off(cache: ImageCache, serve: Serve, left_behind: Left) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 20))

    await refused(cache, serve("/a", answer), ImageTooLarge)
    assert left_behind() == []


async def test_a_full_file_system_is_told_before_the_download(images: Path, serve: Serve, left_behind: Left) -> None:
    cache = limited(images, reserve_bytes=1 << 60)
    await cache.start()
    error = await refused(cache, serve("/a", b"image"), InsufficientStorage)
    assert error.retryable
    assert left_behind() == []


async def test_a_compressed_answer_is_refused_not_expanded(cache: ImageCache, serve: Serve) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=b"\x1f\x8b" + bytes(100), headers={"Content-Encoding": "gzip"})

    error = await refused(cache, serve("/a", answer), DownloadFailed)
    assert "Content-Encoding gzip" in str(error)


async def test_redirects_are_followed(cache: ImageCache, serve: Serve, requested: list[str]) -> None:
    serve("/c", b"image")
    serve("/b", redirect("c", status=307))
    image = await cache.ensure(HttpSource(url=serve("/a", redirect("/b"))), checksum(b"image"))
    assert image.size == 5
    assert requested == ["/a", "/b", "/c"]


async def test_a_signature_in_a_redirect_is_not_told(cache: ImageCache, serve: Serve) -> None:
    async def missing(_: web.Request) -> web.Response:
        return web.Response(status=404)

    serve("/b", missing)
    error = await refused(cache, serve("/a", redirect("/b?signature=secret#secret")), ImageNotFound)
    assert "/b answers 404" in str(error)
    assert "secret" not in str(error)


async def test_a_certificate_that_proves_nothing_is_refused(cache: ImageCache, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
    made = await asyncio.create_subprocess_exec(
        *command, "-keyout", str(key), "-out", str(certificate), stderr=asyncio.subprocess.DEVNULL
    )
    assert await made.wait() == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/a"
        error = await refused(cache, url, CertificateInvalid)
    assert "self-signed certificate" in str(error)
    assert not error.retryable


async def test_redirects_without_end_are_given_up(cache: ImageCache, serve: Serve, requested: list[str]) -> None:
    error = await refused(cache, serve("/a", redirect("/a")), DownloadFailed)
    assert "more than 5 redirects" in str(error)
    assert len(requested) == 6


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://127.0.0.2/",
        "http://[::ffff:127.0.0.2]/",
        "http://0.0.0.0/",
        "//127.0.0.2/",
    ],
)
async def test_a_redirect_to_a_forbidden_address_is_refused(
    cache: ImageCache, serve: Serve, left_behind: Left, target: str
) -> None:
    error = await refused(cache, serve("/a", redirect(target)), DestinationForbidden)
    assert "allowed CIDRs" in str(error)
    assert not error.retryable
    assert left_behind() == []


@pytest.mark.parametrize("target", ["http://2130706434/", "http://0177.0.0.2/", "http://0x7f.2/", "http://127.2/"])
async def test_another_spelling_of_an_address_is_no_way_around(cache: ImageCache, serve: Serve, target: str) -> None:
    with pytest.raises((DestinationForbidden, InvalidSource)):
        await cache.ensure(HttpSource(url=serve("/a", redirect(target))), ANY)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://user:secret@127.0.0.1/"])
async def test_a_redirect_to_what_is_no_plain_url_is_refused(cache: ImageCache, serve: Serve, target: str) -> None:
    error = await refused(cache, serve("/a", redirect(target)), InvalidSource)
    assert "secret" not in str(error)


async def test_a_name_that_resolves_to_the_loopback_is_refused(
    images: Path, serve: Serve, requested: list[str], left_behind: Left
) -> None:
    url = serve("/a", b"image").replace("127.0.0.1", "localhost")
    cache = limited(images, destinations=DestinationPolicy.of())
    await cache.start()
    error = await refused(cache, url, DestinationForbidden, checksum=checksum(b"image"))
    assert "loopback" in str(error)
    assert requested == []
    assert left_behind() == []


async def test_the_environments_proxy_is_not_used(
    cache: ImageCache, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.2:1")
    assert (await cache.ensure(HttpSource(url=serve("/a", b"image")), checksum(b"image"))).size == 5


async def test_cookies_are_not_kept_between_hops(images: Path, serve: Serve) -> None:
    cookies: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(body=b"image")

    async def set_cookie(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/b", "Set-Cookie": "a=b"})

    serve("/b", answer)
    cache = limited(images, destinations=DestinationPolicy.of(allowed_cidrs=["127.0.0.1", "::1"]))
    await cache.start()
    url = serve("/a", set_cookie).replace("127.0.0.1", "localhost")  # a jar would keep none for a bare address
    await cache.ensure(HttpSource(url=url), checksum(b"image"))
    assert cookies == [None]


def redirect(target: str, *, status: int = 302) -> Callable[[web.Request], object]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": target})

    return answer


def limited(images: Path, *, destinations: DestinationPolicy | None = None, **limits: float) -> ImageCache:
    return ImageCache(
        images,
        destinations=destinations or DestinationPolicy.of(allowed_cidrs=["127.0.0.1/32"]),
        clock=lambda: 0,
        downloads=DownloadLimits(**({"reserve_bytes": 0} | limits)),  # type: ignore[arg-type]
    )
