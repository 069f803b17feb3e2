"""The qcow2 header, read from its first bytes (QEMU, docs/interop/qcow2.txt). Pure.

Read here, not by qemu-img, because qemu-img opens what a header points to: a data file anywhere on the node, for one.
Whatever this does not know, it does not let pass.
"""

import struct
from dataclasses import dataclass, field

from berth_agent.storage.errors import ImageRejected

MAGIC = b"QFI\xfb"
HEADER_BYTES = 1 << 21
"""Header, extensions and backing file name all lie in the first cluster, and a cluster has at most 2 MiB."""

_FIXED = struct.Struct(">4sIQIIQIIQQIIQ")  # version 2, 72 bytes
_VERSION_3 = struct.Struct(">QQQII")  # 32 more
_EXTENSION = struct.Struct(">II")
_MAX_BACKING_NAME = 1023
_MAX_L1_BYTES = 32 << 20  # QEMU's own limit, block/qcow2.h
_MAX_SNAPSHOTS = 65536  # likewise

_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = (1 << bit for bit in range(5))
_KNOWN_INCOMPATIBLE = _COMPRESSION | _EXTENDED_L2
_REFUSED_FEATURES = {
    _DIRTY: "was not closed cleanly: repair it with 'qemu-img check -r all'",
    _CORRUPT: "is marked as corrupt: repair it with 'qemu-img check -r all'",
    _DATA_FILE: "keeps its data in another file: convert it with 'qemu-img convert'",
}

_END = 0
_BACKING_FORMAT = 0xE2792ACA
_ENCRYPTION = 0x0537BE77
_DATA_FILE_NAME = 0x44415441


@dataclass(frozen=True, kw_only=True)
class Qcow2Header:
    """What a qcow2 file says about itself, as far as it matters here.

    Attributes:
        version: 2 or 3.
        virtual_size: what a guest sees, in bytes.
        cluster_size: in bytes.
        backing_file: the name in the header, None without one.
        backing_format: the name in the extension, None without one.
        encrypted: by whichever method.
        incompatible: the incompatible feature bits.
        extensions: the header extensions, by type.
    """

    version: int
    virtual_size: int
    cluster_size: int
    backing_file: bytes | None
    backing_format: str | None
    encrypted: bool
    incompatible: int
    extensions: dict[int, bytes] = field(repr=False)


def parse(data: bytes) -> Qcow2Header:
    """Read the header from the file's first `HEADER_BYTES` (or all of a shorter file).

    Raises:
        ImageRejected: it is not a qcow2 header of version 2 or 3, or contradicts itself.
    """
    if len(data) < _FIXED.size or not data.startswith(MAGIC):
        raise ImageRejected("this is not a qcow2 image: its header is too short, or has another magic")
    (_, version, backing_offset, backing_size, cluster_bits, size, encryption, l1_size, *_, snapshots, _) = (
        _FIXED.unpack_from(data)
    )
    if version not in {2, 3}:
        raise ImageRejected(f"qcow version {version} is not supported: convert it with 'qemu-img convert -O qcow2'")
    if not 9 <= cluster_bits <= 21:  # noqa: PLR2004 - the specification's bounds, 512 bytes to 2 MiB
        raise ImageRejected(f"the qcow2 header is damaged: clusters of 2^{cluster_bits} bytes")
    if l1_size * 8 > _MAX_L1_BYTES or snapshots > _MAX_SNAPSHOTS:
        raise ImageRejected("the qcow2 header is damaged: its tables are larger than QEMU accepts")
    incompatible, extensions_at = _features(data, version)
    cluster = data[: 1 << cluster_bits]
    extensions = _extensions(cluster, extensions_at)
    return Qcow2Header(
        version=version,
        virtual_size=size,
        cluster_size=1 << cluster_bits,
        backing_file=_backing_file(cluster, backing_offset, backing_size),
        backing_format=_text(extensions.get(_BACKING_FORMAT)),
        encrypted=encryption != 0 or _ENCRYPTION in extensions,
        incompatible=incompatible,
        extensions=extensions,
    )


def refuse_unsafe(header: Qcow2Header, *, max_virtual_size: int) -> None:
    """Refuse an image that is more than its own bytes, or that QEMU could not be trusted with.

    Raises:
        ImageRejected: with what to change.
    """
    if header.backing_file is not None:
        raise ImageRejected(
            "the image has a backing file, which this node does not have and must not open: flatten it with "
            "'qemu-img convert -O qcow2'"
        )
    for bit, why in _REFUSED_FEATURES.items():
        if header.incompatible & bit:
            raise ImageRejected(f"the image {why}")
    if _DATA_FILE_NAME in header.extensions:
        raise ImageRejected(f"the image {_REFUSED_FEATURES[_DATA_FILE]}")
    if header.encrypted:
        raise ImageRejected("the image is encrypted, which is not supported: decrypt it with 'qemu-img convert'")
    if unknown := header.incompatible & ~(_KNOWN_INCOMPATIBLE | sum(_REFUSED_FEATURES)):
        raise ImageRejected(f"the image needs qcow2 features that are not known here (bits {unknown:#x})")
    if not 0 < header.virtual_size <= max_virtual_size:
        raise ImageRejected(
            f"the image claims a virtual size of {header.virtual_size} bytes; this node takes 1 to {max_virtual_size}"
        )


def _features(data: bytes, version: int) -> tuple[int, int]:
    """The incompatible feature bits, and where the extensions begin."""
    if version == 2:  # noqa: PLR2004 - the version's number is its name
        return 0, _FIXED.size
    if len(data) < _FIXED.size + _VERSION_3.size:
        raise ImageRejected("the qcow2 header is cut off")
    incompatible, _, _, _, length = _VERSION_3.unpack_from(data, _FIXED.size)
    if length < _FIXED.size + _VERSION_3.size or length % 8:
        raise ImageRejected(f"the qcow2 header is damaged: it claims to have {length} bytes")
    return incompatible, length


def _extensions(cluster: bytes, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at + _EXTENSION.size <= len(cluster):
        kind, length = _EXTENSION.unpack_from(cluster, at)
        if kind == _END:
            return found
        at += _EXTENSION.size
        if length > len(cluster) - at:
            raise ImageRejected("the qcow2 header is damaged: an extension is longer than the first cluster")
        found[kind] = cluster[at : at + length]
        at += (length + 7) & ~7
    return found


def _backing_file(cluster: bytes, offset: int, size: int) -> bytes | None:
    if offset == 0:
        return None
    if not 0 < size <= _MAX_BACKING_NAME or offset + size > len(cluster):
        raise ImageRejected("the qcow2 header is damaged: its backing file's name is not in the first cluster")
    return cluster[offset : offset + size]


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("ascii", "backslashreplace")
