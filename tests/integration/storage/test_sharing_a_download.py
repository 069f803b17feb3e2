"""Many who ask for one image at once, those who leave, those who crash, and other processes."""

import asyncio
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.errors import ImageInUse, ImageNotFound, InvalidSource
from berth_agent.storage.file_locks import locked, release, try_lock
from berth_agent.storage.image_cache import ImageCache
from berth_agent.storage.sources import Digest, HttpSource

pytestmark = pytest.mark.integration

Serve = Callable[..., str]
Left = Callable[[], list[str]]
DATA = b"image" * 1000
CHECKSUM = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
NAME = Digest.parse(CHECKSUM).directory_name


class HeldAnswer:
    """Half of the image, and the rest when it is released."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.release = asyncio.Event()
        self.dropped = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        await response.write(DATA[:1000])
        self.begun.set()
        try:
            while not self.release.is_set():  # trickle, so as not to stall
                await asyncio.wait({asyncio.ensure_future(self.release.wait())}, timeout=0.1)
            await response.write(DATA[1000:])
        except (asyncio.CancelledError, ConnectionError):
            self.dropped.set()
            raise
        return response


async def test_two_at_once_download_once(cache: ImageCache, serve: Serve, requested: list[str]) -> None:
    held = HeldAnswer()
    source = HttpSource(url=serve("/a", held))
    seen: list[int] = []
    first = asyncio.create_task(cache.ensure(source, CHECKSUM))
    await held.begun.wait()
    second = asyncio.create_task(cache.ensure(source, CHECKSUM, progress=lambda received, _: seen.append(received)))
    await asyncio.sleep(0)
    held.release.set()
    assert await first == await second
    assert requested == ["/a"]
    assert seen[-1] == len(DATA)


async def test_one_that_leaves_does_not_take_the_others_along(
    cache: ImageCache, serve: Serve, requested: list[str]
) -> None:
    held = HeldAnswer()
    source = HttpSource(url=serve("/a", held))
    leaving = asyncio.create_task(cache.ensure(source, CHECKSUM))
    await held.begun.wait()
    staying = asyncio.create_task(cache.ensure(source, CHECKSUM))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    held.release.set()
    assert (await staying).size == len(DATA)
    assert requested == ["/a"]


async def test_the_last_one_that_leaves_ends_the_download_and_leaves_nothing(
    cache: ImageCache, serve: Serve, left_behind: Left
) -> None:
    held = HeldAnswer()
    asking = [asyncio.create_task(cache.ensure(HttpSource(url=serve("/a", held)), CHECKSUM)) for _ in range(2)]
    await held.begun.wait()
    assert f"incoming/{NAME}/image" in left_behind()
    for task in asking:
        task.cancel()
    assert [type(result) for result in await asyncio.gather(*asking, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 2
    assert left_behind() == []
    await asyncio.wait_for(held.dropped.wait(), 5)


async def test_who_asks_after_a_cancelled_download_gets_the_image(
    cache: ImageCache, serve: Serve, requested: list[str]
) -> None:
    held = HeldAnswer()
    source = HttpSource(url=serve("/a", held))
    leaving = asyncio.create_task(cache.ensure(source, CHECKSUM))
    await held.begun.wait()
    leaving.cancel()
    again = asyncio.create_task(cache.ensure(source, CHECKSUM))
    held.release.set()
    assert (await again).size == len(DATA)
    assert leaving.cancelled()
    assert requested == ["/a", "/a"]


async def test_the_same_image_from_another_source_does_not_share_its_failure(cache: ImageCache, serve: Serve) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def missing(_: web.Request) -> web.Response:
        asked.set()
        await answer.wait()
        return web.Response(status=404)

    # In this order: if the good source got the lock first, the other would find its image and not fail at all.
    failing = asyncio.create_task(cache.ensure(HttpSource(url=serve("/missing", missing)), CHECKSUM))
    await asked.wait()
    fetching = asyncio.create_task(cache.ensure(HttpSource(url=serve("/a", DATA)), CHECKSUM))
    await asyncio.sleep(0)
    answer.set()
    with pytest.raises(ImageNotFound):
        await failing
    assert (await fetching).size == len(DATA)


async def test_two_processes_download_once(
    cache: ImageCache, new_cache: Callable[[], ImageCache], serve: Serve, requested: list[str]
) -> None:
    held = HeldAnswer()
    source = HttpSource(url=serve("/a", held))
    first = asyncio.create_task(cache.ensure(source, CHECKSUM))
    await held.begun.wait()
    other = new_cache()
    await other.start()  # sweeps, but not what the first one still makes
    second = asyncio.create_task(other.ensure(source, CHECKSUM))
    await asyncio.sleep(0.05)
    held.release.set()
    assert await first == await second
    assert requested == ["/a"]


async def test_a_start_sweeps_what_a_crash_left(
    cache: ImageCache, new_cache: Callable[[], ImageCache], images: Path, left_behind: Left, serve: Serve
) -> None:
    whole = await cache.ensure(HttpSource(url=serve("/a", DATA)), CHECKSUM)
    half = images / "incoming" / ("sha256-" + "1" * 64)
    half.mkdir()
    (half / "image").write_bytes(b"half")
    (images / "locks" / f"{half.name}.lock").touch()
    damaged = images / ("sha256-" + "2" * 64)
    damaged.mkdir()
    (damaged / "image").write_bytes(b"no facts")
    await new_cache().start()
    assert left_behind() == [NAME, f"{NAME}/image", f"{NAME}/image.json"]
    assert await cache.images() == (whole,)


PROCESS = """
import asyncio, sys, time
from pathlib import Path
from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.image_cache import ImageCache
from berth_agent.storage.sources import HttpSource

async def main(root, url, checksum):
    policy = DestinationPolicy.of(allowed_cidrs=["127.0.0.1/32"])
    cache = ImageCache(Path(root), destinations=policy, clock=time.time)
    await cache.start()
    await cache.ensure(HttpSource(url=url), checksum)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_process_that_is_killed_leaves_neither_lock_nor_half_an_image(
    new_cache: Callable[[], ImageCache], images: Path, serve: Serve, left_behind: Left
) -> None:
    held = HeldAnswer()
    url = serve("/a", held)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, str(images), url, CHECKSUM)
    try:
        await asyncio.wait_for(held.begun.wait(), 20)
        cache = new_cache()
        await cache.start()
        assert f"incoming/{NAME}/image" in left_behind(), "a live process is left alone"
        assert f"locks/{NAME}.lock" in left_behind()
    finally:
        process.kill()
        await process.wait()
    await cache.start()
    assert left_behind() == []
    assert (await cache.ensure(HttpSource(url=serve("/b", DATA)), CHECKSUM)).size == len(DATA)


async def test_an_image_that_changed_its_size_is_fetched_again(
    cache: ImageCache, serve: Serve, requested: list[str]
) -> None:
    source = HttpSource(url=serve("/a", DATA))
    image = await cache.ensure(source, CHECKSUM)
    os.truncate(image.path, 10)
    assert await cache.images() == ()
    assert (await cache.ensure(source, CHECKSUM)).path.read_bytes() == DATA
    assert requested == ["/a", "/a"]


async def test_an_unused_image_ages_out_and_a_used_one_does_not(images: Path, serve: Serve) -> None:
    now = [1000.0]
    cache = aged(images, now)
    await cache.start()
    image = await cache.ensure(HttpSource(url=serve("/a", DATA)), CHECKSUM)
    now[0] += 100
    assert await cache.expire(in_use=[], keep_seconds=100) == ()
    now[0] += 1
    assert await cache.expire(in_use=[image.digest], keep_seconds=100) == ()
    now[0] += 100
    assert await cache.expire(in_use=[], keep_seconds=100) == (), "its time begins when the last disk goes"
    now[0] += 1
    assert await cache.expire(in_use=[], keep_seconds=100) == (CHECKSUM,)
    assert not image.path.exists()


async def test_asking_for_an_image_makes_it_young(images: Path, serve: Serve) -> None:
    now = [1000.0]
    cache = aged(images, now)
    await cache.start()
    source = HttpSource(url=serve("/a", DATA))
    await cache.ensure(source, CHECKSUM)
    now[0] += 100
    await cache.ensure(source, CHECKSUM)
    now[0] += 100
    assert await cache.expire(in_use=[], keep_seconds=100) == ()


async def test_an_image_that_is_being_worked_on_is_not_aged(cache: ImageCache, images: Path, serve: Serve) -> None:
    await cache.ensure(HttpSource(url=serve("/a", DATA)), CHECKSUM)
    async with locked(images / "locks" / f"{NAME}.lock", within_seconds=1):
        assert await cache.expire(in_use=[], keep_seconds=-1) == ()
    assert await cache.expire(in_use=[], keep_seconds=-1) == (CHECKSUM,)


async def test_an_image_is_removed_unless_a_disk_stands_on_it(
    cache: ImageCache, serve: Serve, left_behind: Left
) -> None:
    image = await cache.ensure(HttpSource(url=serve("/a", DATA)), CHECKSUM)
    with pytest.raises(ImageInUse):
        await cache.remove(image.digest, in_use={image.digest})
    assert await cache.remove(image.digest, in_use=set())
    assert not await cache.remove(image.digest, in_use=set())
    assert left_behind() == []


@pytest.mark.parametrize("checksum", ["", "abc", "md5:" + "0" * 32, "sha256:" + "0" * 63, "sha256:../../" + "0" * 58])
async def test_a_checksum_that_is_none_is_refused(cache: ImageCache, checksum: str) -> None:
    with pytest.raises(InvalidSource, match="64 hexadecimal digits"):
        await cache.ensure(HttpSource(url="http://127.0.0.1/"), checksum)


def test_a_lock_whose_file_was_removed_is_not_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    first = try_lock(path)
    assert first is not None
    assert try_lock(path) is None
    release(path, first)
    assert not path.exists()
    second = try_lock(path)
    assert second is not None
    release(path, second)


def test_a_lock_is_held_by_one_at_a_time_though_its_file_comes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    inside = threading.Semaphore(1)
    overlaps: list[int] = []
    taken: list[int] = []

    def contend(number: int) -> None:
        for _ in range(1500):
            descriptor = try_lock(path)
            if descriptor is None:
                continue
            taken.append(number)
            if inside.acquire(blocking=False):
                time.sleep(0)  # lets the others try
                inside.release()
            else:
                overlaps.append(number)
            release(path, descriptor)

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken
    assert overlaps == []


def aged(images: Path, now: list[float]) -> ImageCache:
    return ImageCache(images, destinations=DestinationPolicy.of(allowed_cidrs=["127.0.0.1/32"]), clock=lambda: now[0])
