"""File sources: what is in the administrator's directory, and never anything else."""

import errno
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.errors import (
    ChecksumMismatch,
    FileOutsideDirectory,
    ImageNotFound,
    ImageTooLarge,
    InsufficientStorage,
)
from berth_agent.storage.image_cache import ImageCache
from berth_agent.storage.settings import DownloadLimits
from berth_agent.storage.sinks import ImageSink
from berth_agent.storage.sources import FileSource

pytestmark = pytest.mark.integration

Left = Callable[[], list[str]]
DATA = os.urandom(5 << 20)
CHECKSUM = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


async def test_a_file_is_copied_verified_and_kept(cache: ImageCache, file_root: Path) -> None:
    (file_root / "debian" / "12").mkdir(parents=True)
    (file_root / "debian" / "12" / "image.raw").write_bytes(DATA)
    seen: list[tuple[int, int | None]] = []
    source = FileSource(path="debian/12/image.raw")
    image = await cache.ensure(source, CHECKSUM, progress=lambda *at: seen.append(at))
    assert image.path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))


async def test_a_file_with_another_checksum_is_refused(cache: ImageCache, file_root: Path, left_behind: Left) -> None:
    (file_root / "a").write_bytes(b"other")
    with pytest.raises(ChecksumMismatch):
        await cache.ensure(FileSource(path="a"), CHECKSUM)
    assert left_behind() == []


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "a/../../secret", "a//b", "./a", "", "a/", "a\0b", ".."])
async def test_a_path_that_is_not_plainly_inside_is_refused(cache: ImageCache, path: str, left_behind: Left) -> None:
    with pytest.raises(FileOutsideDirectory, match="relative to the node's image directory"):
        await cache.ensure(FileSource(path=path), CHECKSUM)
    assert left_behind() == []


@pytest.mark.parametrize("path", ["link", "directory-link/secret", "chain"])
async def test_a_symbolic_link_is_refused_wherever_it_stands(
    cache: ImageCache, file_root: Path, tmp_path: Path, left_behind: Left, path: str
) -> None:
    (tmp_path / "secret").write_bytes(DATA)
    (file_root / "link").symlink_to(tmp_path / "secret")
    (file_root / "directory-link").symlink_to(tmp_path)
    (file_root / "chain").symlink_to("link")
    with pytest.raises(FileOutsideDirectory, match="symbolic link"):
        await cache.ensure(FileSource(path=path), CHECKSUM)
    assert left_behind() == []


async def test_what_is_no_regular_file_is_refused_without_waiting(
    cache: ImageCache, file_root: Path, left_behind: Left
) -> None:
    os.mkfifo(file_root / "pipe")
    (file_root / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(file_root / "socket"))
    for path in ("pipe", "directory", "socket", "missing", "missing/a"):
        with pytest.raises(ImageNotFound):
            await cache.ensure(FileSource(path=path), CHECKSUM)
    assert left_behind() == []


async def test_a_node_without_a_directory_says_so(images: Path) -> None:
    cache = ImageCache(images, destinations=DestinationPolicy.of(), clock=lambda: 0)
    await cache.start()
    with pytest.raises(FileOutsideDirectory, match="no directory of image files"):
        await cache.ensure(FileSource(path="a"), CHECKSUM)


async def test_a_file_over_the_limit_is_refused(cache: ImageCache, file_root: Path, left_behind: Left) -> None:
    with (file_root / "a").open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(ImageTooLarge):
        await cache.ensure(FileSource(path="a"), CHECKSUM)
    assert left_behind() == []


async def test_no_descriptor_stays_open(cache: ImageCache, file_root: Path) -> None:
    (file_root / "a").write_bytes(b"other")
    (file_root / "directory").mkdir()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not used as paths
    for path in ("a", "directory", "missing", "directory/missing"):
        with pytest.raises((ChecksumMismatch, ImageNotFound)):
            await cache.ensure(FileSource(path=path), CHECKSUM)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


async def test_a_reflinked_file_is_hashed_where_it_arrived(tmp_path: Path) -> None:
    with ImageSink(tmp_path / "image", limits=DownloadLimits(reserve_bytes=0)) as sink:
        os.write(sink.descriptor, DATA)  # as FICLONE leaves it: content, and nobody has seen it pass
        await sink.adopt()
        assert str(await sink.finish()) == CHECKSUM


async def test_a_file_system_that_is_full_says_so(tmp_path: Path) -> None:
    sink = ImageSink(tmp_path / "image", limits=DownloadLimits(reserve_bytes=0))
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        os.dup2(full, sink.descriptor)
        with pytest.raises(InsufficientStorage) as caught:
            await sink.write(bytes(2 << 20))
    finally:
        os.close(full)
        sink.__exit__(None, None, None)

    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
