"""Disks made by the real qemu-img: on an image or blank, once, never over another, and gone with their VM."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from berth_agent.storage.disks import Disk, Disks, _put_in_place
from berth_agent.storage.errors import (
    DiskMismatch,
    DiskSmallerThanImage,
    ImageNotFound,
    ImageToolFailed,
    InvalidName,
    InvalidSize,
    PoolUnavailable,
)
from berth_agent.storage.pools import PoolDirectories
from berth_agent.storage.settings import ImageLimits
from berth_agent.storage.sources import CachedImage, ImageFormat

pytestmark = pytest.mark.integration

UID = "0b9b1f3c-5a8e-4f30-8a52-5a3f1d7c0001"
OTHER_UID = "0b9b1f3c-5a8e-4f30-8a52-5a3f1d7c0002"
MIB = 1 << 20


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    directory = tmp_path / "pool"
    directory.mkdir()
    return directory


@pytest.fixture
def disks(pool: Path) -> Disks:
    return Disks(PoolDirectories({"default": pool}))


@pytest.fixture
def image(tmp_path: Path, qemu_img: Callable[..., bytes]) -> CachedImage:
    return cached(tmp_path, "1", qemu_img("-f", "qcow2", size="10M"), ImageFormat.QCOW2, 10 * MIB)


def cached(tmp_path: Path, digit: str, data: bytes, image_format: ImageFormat, virtual_size: int) -> CachedImage:
    path = tmp_path / "images" / f"sha256-{digit * 64}" / "image"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return CachedImage(
        path=path, digest=f"sha256:{digit * 64}", format=image_format, virtual_size=virtual_size, size=len(data)
    )


def info(path: Path) -> dict[str, object]:
    command = ["qemu-img", "info", "--output=json", "-f", "qcow2", str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)


def names_in(pool: Path) -> list[str]:
    return sorted(entry.name for entry in pool.iterdir())


async def test_a_disk_on_an_image_says_what_it_stands_on(disks: Disks, pool: Path, image: CachedImage) -> None:
    disk = await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=20 * MIB, image=image)
    assert disk.path == pool / f"{UID}-root.qcow2"
    assert (disk.capacity, disk.backing_digest, disk.backing_path) == (20 * MIB, image.digest, image.path)
    said = info(disk.path)
    assert said["virtual-size"] == 20 * MIB
    assert said["backing-filename"] == str(image.path)
    assert said["backing-filename-format"] == "qcow2"
    assert disk.path.stat().st_mode & 0o777 == 0o600
    assert names_in(pool) == [disk.path.name]


async def test_a_raw_image_is_stated_as_raw(disks: Disks, tmp_path: Path) -> None:
    image = cached(tmp_path, "2", bytes(MIB), ImageFormat.RAW, MIB)
    disk = await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=MIB, image=image)
    assert disk.backing_format is ImageFormat.RAW
    assert info(disk.path)["backing-filename-format"] == "raw"


async def test_a_blank_disk_stands_on_nothing(disks: Disks) -> None:
    disk = await disks.ensure_disk(vm_uid=UID, disk_name="scratch", pool_name="default", size=1_000_000_001)
    assert disk.capacity == 1_000_000_512
    assert disk.backing_digest is None
    assert "backing-filename" not in info(disk.path)


async def test_a_disk_is_made_once(disks: Disks, image: CachedImage) -> None:
    async def ensure() -> Disk:
        return await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=20 * MIB, image=image)

    first, second = await asyncio.gather(ensure(), ensure())
    assert first == second
    before = first.path.stat()
    assert await ensure() == first
    after = first.path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_another_disk_in_its_place_is_left_as_it_is(
    disks: Disks, pool: Path, image: CachedImage, tmp_path: Path
) -> None:
    disk = await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=20 * MIB, image=image)
    before = disk.path.read_bytes()
    other = cached(tmp_path, "3", image.path.read_bytes(), ImageFormat.QCOW2, 10 * MIB)
    for size, on, why in [
        (30 * MIB, image, "it has 20971520 bytes, not 31457280"),
        (20 * MIB, other, f"it stands on {image.digest}, not on {other.digest}"),
        (20 * MIB, None, "not on nothing"),
    ]:
        with pytest.raises(DiskMismatch, match=why):
            await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=size, image=on)
    assert disk.path.read_bytes() == before
    assert len(names_in(pool)) == 1


@pytest.mark.parametrize("there", ["noise", "link", "directory"])
async def test_what_is_no_disk_of_ours_is_left_as_it_is(disks: Disks, pool: Path, tmp_path: Path, there: str) -> None:
    path = pool / f"{UID}-root.qcow2"
    blank = await disks.ensure_disk(vm_uid=OTHER_UID, disk_name="root", pool_name="default", size=MIB)
    (tmp_path / "target").write_bytes(blank.path.read_bytes())
    match there:
        case "noise":
            path.write_bytes(b"noise")
        case "link":
            path.symlink_to(tmp_path / "target")
        case _:
            path.mkdir()
    with pytest.raises(DiskMismatch):
        await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=MIB)
    assert (tmp_path / "target").read_bytes() == blank.path.read_bytes()
    assert path.is_symlink() or path.exists()


async def test_a_disk_smaller_than_its_image_says_both_sizes(disks: Disks, pool: Path, image: CachedImage) -> None:
    with pytest.raises(DiskSmallerThanImage, match=r"1048576 bytes.*10485760 bytes.*at least 10485760"):
        await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=MIB, image=image)
    assert names_in(pool) == []


@pytest.mark.parametrize("name", ["../root", "a/b", "", "-a", "A", "a" * 64, "a\n", "a\0", "ä", "."])
async def test_a_name_that_could_make_a_path_is_refused(disks: Disks, pool: Path, name: str) -> None:
    with pytest.raises(InvalidName):
        await disks.ensure_disk(vm_uid=UID, disk_name=name, pool_name="default", size=MIB)
    with pytest.raises(InvalidName):
        await disks.delete_disks(name)
    assert names_in(pool) == []


@pytest.mark.parametrize("size", [-1, 0, 1 << 62])
async def test_a_size_that_no_disk_can_have_is_refused(disks: Disks, pool: Path, size: int) -> None:
    with pytest.raises(InvalidSize, match=f"a size of {size} bytes"):
        await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=size)
    assert names_in(pool) == []


async def test_an_image_that_is_gone_is_named(disks: Disks, pool: Path, image: CachedImage) -> None:
    image.path.unlink()
    with pytest.raises(ImageNotFound):
        await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=20 * MIB, image=image)
    assert names_in(pool) == []


async def test_a_pool_that_is_not_there_is_named(tmp_path: Path) -> None:
    disks = Disks(PoolDirectories({"shared": tmp_path / "not-mounted"}))
    for pool in ("shared", "unknown"):
        with pytest.raises(PoolUnavailable, match=r"not there|no storage pool 'unknown' \(it has: shared\)"):
            await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name=pool, size=MIB)
    with pytest.raises(PoolUnavailable):
        await disks.delete_disks(UID)
    assert await disks.observe() == {}, "who has something there is found out another time"


async def test_a_tool_that_hangs_leaves_nothing(pool: Path) -> None:
    disks = Disks(PoolDirectories({"default": pool}), limits=ImageLimits(tool_seconds=0.0001))
    with pytest.raises(ImageToolFailed, match="longer than"):
        await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=MIB)
    assert names_in(pool) == []


def test_a_disk_that_appeared_meanwhile_is_not_replaced(pool: Path) -> None:
    final, temporary = pool / "final", pool / "temporary"
    final.write_bytes(b"what a guest wrote")
    temporary.write_bytes(b"blank")
    _put_in_place(temporary, final)
    assert final.read_bytes() == b"what a guest wrote"
    assert names_in(pool) == ["final"]


@pytest.mark.parametrize("milliseconds", [0, 1, 2, 4, 8])
async def test_a_cancelled_making_leaves_nothing_unfinished(disks: Disks, pool: Path, milliseconds: int) -> None:
    making = asyncio.create_task(disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=MIB))
    await asyncio.wait({making}, timeout=milliseconds / 1000)
    making.cancel()
    await asyncio.wait({making})
    assert [name for name in names_in(pool) if name.startswith(".")] == []
    assert (await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=MIB)).capacity == MIB


async def test_what_a_crash_left_is_observed_replaced_and_deleted(disks: Disks, pool: Path) -> None:
    (pool / f".making-{UID}-root.qcow2").write_bytes(b"half")
    (pool / f".making-{OTHER_UID}-root.qcow2").write_bytes(b"half")
    assert await disks.observe() == {UID: {"root"}, OTHER_UID: {"root"}}
    disk = await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=MIB)
    assert await disks.delete_disks(OTHER_UID) == 0
    assert names_in(pool) == [disk.path.name]


async def test_a_deleted_vm_takes_its_disks_along_and_no_others(tmp_path: Path, image: CachedImage) -> None:
    pools = {name: tmp_path / name for name in ("fast", "slow")}
    for directory in pools.values():
        directory.mkdir()
    disks = Disks(PoolDirectories(pools))
    await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="fast", size=20 * MIB, image=image)
    await disks.ensure_disk(vm_uid=UID, disk_name="data", pool_name="slow", size=MIB)
    await disks.ensure_disk(vm_uid=OTHER_UID, disk_name="root", pool_name="slow", size=MIB)
    (pools["slow"] / "somebody-elses.qcow2").write_bytes(b"foreign")
    assert await disks.observe() == {UID: {"root", "data"}, OTHER_UID: {"root"}}
    assert await disks.backing_digests() == {image.digest}
    assert await disks.delete_disks(UID) == 2
    assert await disks.delete_disks(UID) == 0
    assert await disks.observe() == {OTHER_UID: {"root"}}
    assert await disks.backing_digests() == frozenset()
    assert (pools["slow"] / "somebody-elses.qcow2").exists()


async def test_a_disk_in_use_by_a_guest_is_still_read(disks: Disks, image: CachedImage) -> None:
    disk = await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=20 * MIB, image=image)
    holder = subprocess.Popen(  # noqa: ASYNC220 - it stands for a guest, and outlives the awaits below
        ["qemu-io", "-f", "qcow2", str(disk.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"write -P 7 0 4k\n")
        holder.stdin.flush()
        holder.stdout.readline()
        again = await disks.ensure_disk(vm_uid=UID, disk_name="root", pool_name="default", size=20 * MIB, image=image)
        assert again == disk
    finally:
        holder.communicate(b"quit\n", timeout=10)
