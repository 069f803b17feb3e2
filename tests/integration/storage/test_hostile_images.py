"""Images that are more than their own bytes, made by the real qemu-img: refused, and nothing of them kept or opened."""

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from berth_agent.storage.errors import ImageRejected
from berth_agent.storage.image_cache import ImageCache
from berth_agent.storage.image_tool import ImageTool
from berth_agent.storage.settings import ImageLimits
from berth_agent.storage.sources import CachedImage, FileSource, ImageFormat

pytestmark = pytest.mark.integration

Left = Callable[[], list[str]]
QemuImg = Callable[..., bytes]


async def put(cache: ImageCache, file_root: Path, data: bytes) -> CachedImage:
    (file_root / "image").write_bytes(data)
    return await cache.ensure(FileSource(path="image"), f"sha256:{hashlib.sha256(data).hexdigest()}")


async def refused(cache: ImageCache, file_root: Path, data: bytes, why: str) -> None:
    with pytest.raises(ImageRejected, match=why) as caught:
        await put(cache, file_root, data)
    assert caught.value.reason == "ImageRejected"
    assert not caught.value.retryable


async def test_a_backing_file_is_refused(
    cache: ImageCache, file_root: Path, qemu_img: QemuImg, left_behind: Left
) -> None:
    data = qemu_img("-f", "qcow2", "-b", "/etc/passwd", "-F", "raw")
    await refused(cache, file_root, data, "backing file")
    assert left_behind() == []


async def test_an_external_data_file_is_refused(
    cache: ImageCache, file_root: Path, qemu_img: QemuImg, tmp_path: Path, left_behind: Left
) -> None:
    data = qemu_img("-f", "qcow2", "-o", f"data_file={tmp_path / 'data'},data_file_raw=on")
    await refused(cache, file_root, data, "data in another file")
    assert left_behind() == []


async def test_an_encrypted_image_is_refused(cache: ImageCache, file_root: Path, qemu_img: QemuImg) -> None:
    data = qemu_img(
        *("--object", "secret,id=s,data=abc", "-f", "qcow2", "-o"),
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
    )
    await refused(cache, file_root, data, "encrypted")


@pytest.mark.parametrize(
    ("image_format", "why"), [("vmdk", "VMDK"), ("vdi", "VDI"), ("vhdx", "VHDX"), ("vpc", "VHD"), ("qed", "QED")]
)
async def test_another_format_is_refused_by_name(
    cache: ImageCache, file_root: Path, qemu_img: QemuImg, left_behind: Left, *, image_format: str, why: str
) -> None:
    await refused(cache, file_root, qemu_img("-f", image_format), why)
    assert left_behind() == []


async def test_a_virtual_size_beyond_the_limit_is_refused(
    cache: ImageCache, file_root: Path, qemu_img: QemuImg
) -> None:
    await refused(cache, file_root, qemu_img("-f", "qcow2", size="2G"), "virtual size of 2147483648")


async def test_an_image_that_only_qemu_sees_through_is_refused(
    cache: ImageCache, file_root: Path, qemu_img: QemuImg, left_behind: Left
) -> None:
    data = bytearray(qemu_img("-f", "qcow2"))
    struct.pack_into(">Q", data, 40, 3)  # the L1 table at an offset that is no cluster's
    await refused(cache, file_root, bytes(data), "QEMU cannot open the image")
    assert left_behind() == []


async def test_an_image_that_costs_too_much_to_open_is_refused(qemu_img: QemuImg, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(qemu_img("-f", "qcow2"))
    with pytest.raises(ImageRejected):
        await ImageTool(ImageLimits(tool_memory_bytes=1 << 20)).info(path, ImageFormat.QCOW2)
    with pytest.raises(ImageRejected, match="took longer"):
        await ImageTool(ImageLimits(tool_seconds=0.0001)).info(path, ImageFormat.QCOW2)


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
async def test_a_plain_image_of_either_version_is_taken(
    cache: ImageCache, file_root: Path, qemu_img: QemuImg, compat: str
) -> None:
    image = await put(cache, file_root, qemu_img("-f", "qcow2", "-o", f"compat={compat}"))
    assert (image.format, image.virtual_size) == (ImageFormat.QCOW2, 1 << 20)


async def test_newer_features_that_are_harmless_are_taken(
    cache: ImageCache, file_root: Path, qemu_img: QemuImg
) -> None:
    data = qemu_img("-f", "qcow2", "-o", "compression_type=zstd,extended_l2=on,cluster_size=2M")
    assert (await put(cache, file_root, data)).format is ImageFormat.QCOW2


async def test_a_raw_image_stays_raw_whatever_its_later_sectors_say(
    cache: ImageCache, file_root: Path, qemu_img: QemuImg
) -> None:
    image = await put(cache, file_root, bytes(512) + qemu_img("-f", "qcow2", "-b", "/etc/passwd", "-F", "raw"))
    assert image.format is ImageFormat.RAW
