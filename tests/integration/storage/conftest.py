"""A web server of the test's own on the loopback, and a cache that may reach it."""

import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.image_cache import ImageCache
from berth_agent.storage.settings import GIB, DownloadLimits, ImageLimits

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def requested() -> list[str]:
    """The paths that the server was asked for, in order."""
    return []


@pytest.fixture
async def serve(requested: list[str]) -> AsyncIterator[Callable[[str, Handler | bytes], str]]:
    """A function that lets the server answer a path with bytes or a handler, and returns the URL."""
    answers: dict[str, Handler | bytes] = {}

    async def handle(request: web.Request) -> web.StreamResponse:
        requested.append(request.path)
        answer = answers[request.path]
        return web.Response(body=answer) if isinstance(answer, bytes) else await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    def add(path: str, answer: Handler | bytes) -> str:
        answers[path] = answer
        return f"http://127.0.0.1:{port}{path}"

    yield add
    await runner.cleanup()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The cache's directory."""
    return tmp_path / "images"


@pytest.fixture
def file_root(tmp_path: Path) -> Path:
    """The administrator's directory of image files."""
    root = tmp_path / "files"
    root.mkdir()
    return root


@pytest.fixture
def new_cache(images: Path, file_root: Path) -> Callable[[], ImageCache]:
    """Make a cache on the directory, as each process would have its own."""

    def new() -> ImageCache:
        return ImageCache(
            images,
            destinations=DestinationPolicy.of(allowed_cidrs=["127.0.0.1/32"]),
            clock=time.time,
            file_root=file_root,
            downloads=DownloadLimits(
                connect_seconds=2, stall_seconds=0.3, total_seconds=20, max_bytes=16 << 20, reserve_bytes=0
            ),
            limits=ImageLimits(lock_seconds=10, max_virtual_size=GIB),
        )

    return new


@pytest.fixture
async def cache(new_cache: Callable[[], ImageCache]) -> ImageCache:
    """A started cache."""
    started = new_cache()
    await started.start()
    return started


@pytest.fixture
def left_behind(images: Path) -> Callable[[], list[str]]:
    """List everything in the cache but its two fixed directories."""

    def left() -> list[str]:
        found = (path.relative_to(images).as_posix() for path in images.rglob("*"))
        return sorted(set(found) - {"incoming", "locks"})

    return left


@pytest.fixture
def qemu_img(tmp_path: Path) -> Callable[..., bytes]:
    """Run ``qemu-img create`` for a new file and return the bytes it made."""

    def create(*arguments: str, size: str = "1M") -> bytes:
        path = tmp_path / "made-by-qemu-img"
        path.unlink(missing_ok=True)
        subprocess.run(["qemu-img", "create", "-q", *arguments, str(path), size], check=True, timeout=30)
        return path.read_bytes()

    return create
