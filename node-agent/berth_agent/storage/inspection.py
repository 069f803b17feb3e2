"""Deciding what an unknown file is, before anything that could be fooled by it opens it.

The format is decided once, from the bytes, and stated ever after: QEMU's probing would read a raw image whose guest
wrote a qcow2 header into its first sector as qcow2, and follow its backing file to any file of the node (CVE-2008-2004
and its many children).
"""

from pathlib import Path

from berth_agent.storage import qcow2
from berth_agent.storage.errors import ImageRejected
from berth_agent.storage.image_tool import ImageTool
from berth_agent.storage.settings import ImageLimits
from berth_agent.storage.sources import ImageFormat
from berth_agent.storage.threads import run_in_thread

SECTOR = 512

_DECOMPRESS = "it is {name}: decompress it, and give the checksum of what comes out"
_CONVERT = "it is {name}: convert it with 'qemu-img convert -O qcow2'"
_UNPACK = "it is {name}: unpack the disk image in it"
_REFUSED: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1f\x8b", "gzip data", _DECOMPRESS),
    (0, b"\xfd7zXZ\0", "xz data", _DECOMPRESS),
    (0, b"\x28\xb5\x2f\xfd", "zstd data", _DECOMPRESS),
    (0, b"BZh", "bzip2 data", _DECOMPRESS),
    (0, b"\x04\x22\x4d\x18", "lz4 data", _DECOMPRESS),
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (257, b"ustar", "a tar archive (an OVA?)", _UNPACK),
    (0, b"KDMV", "a VMDK image", _CONVERT),
    (0, b"COWD", "a VMDK image", _CONVERT),
    (0, b"# Disk DescriptorFile", "a VMDK descriptor", _CONVERT),
    (64, b"\x7f\x10\xda\xbe", "a VDI image", _CONVERT),
    (0, b"vhdxfile", "a VHDX image", _CONVERT),
    (0, b"conectix", "a VHD image", _CONVERT),
    (0, b"QED\0", "a QED image", _CONVERT),
    (0, b"WithoutFreeSpace", "a Parallels image", _CONVERT),
    (0, b"WithouFreSpacExt", "a Parallels image", _CONVERT),
    (0, b"Bochs Virtual HD Image", "a Bochs image", _CONVERT),
    (0, b"LUKS\xba\xbe", "a LUKS volume", "it is {name}, which is not supported: decrypt it"),
)


def recognise(head: bytes) -> ImageFormat:
    """Say what a file with these first bytes (512 at least, if it has them) is; what is nothing else is raw.

    Raises:
        ImageRejected: it is of a kind that a guest would see as noise.
    """
    if head.startswith(qcow2.MAGIC):
        return ImageFormat.QCOW2
    for offset, magic, name, advice in _REFUSED:
        if head[offset : offset + len(magic)] == magic:
            raise ImageRejected(f"the image is not a raw or qcow2 image, {advice.format(name=name)}")
    return ImageFormat.RAW


async def inspect(path: Path, *, tool: ImageTool, limits: ImageLimits) -> tuple[ImageFormat, int]:
    """Say what the file is and how large a disk it makes, in bytes.

    Raises:
        ImageRejected: it is nothing that a disk could safely stand on.
    """
    head, size = await run_in_thread(_read_head, path)
    image_format = recognise(head)
    if image_format is ImageFormat.RAW:
        return image_format, _raw_virtual_size(size, limits)
    header = qcow2.parse(head)
    qcow2.refuse_unsafe(header, max_virtual_size=limits.max_virtual_size)
    said = await tool.info(path, image_format)
    _refuse_contradiction(said, header)
    return image_format, header.virtual_size


def _raw_virtual_size(size: int, limits: ImageLimits) -> int:
    virtual_size = -(-size // SECTOR) * SECTOR
    if not 0 < virtual_size <= limits.max_virtual_size:
        raise ImageRejected(f"the image has {size} bytes; this node takes 1 to {limits.max_virtual_size}")
    return virtual_size


def _refuse_contradiction(said: dict[str, object], header: qcow2.Qcow2Header) -> None:
    """Two readers of one header have to agree, or one of them has been fooled."""
    details = said.get("format-specific")
    data = details.get("data", {}) if isinstance(details, dict) else {}
    refers = {"backing-filename", "full-backing-filename", "encrypted", "encrypt"} & said.keys()
    refers |= {"data-file", "encrypt"} & data.keys()
    if refers or said.get("virtual-size") != header.virtual_size:
        raise ImageRejected(f"QEMU reads the image's header differently: {', '.join(sorted(refers)) or 'another size'}")
    if data.get("corrupt"):
        raise ImageRejected("QEMU says that the image is corrupt: repair it with 'qemu-img check -r all'")


def _read_head(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return file.read(qcow2.HEADER_BYTES), path.stat().st_size
