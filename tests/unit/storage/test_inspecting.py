"""What a file is, decided from its bytes: pure, so it is fed everything."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_agent.storage import qcow2
from berth_agent.storage.errors import ImageRejected
from berth_agent.storage.inspection import recognise
from berth_agent.storage.sources import ImageFormat

GIB = 1 << 30


def header(
    *,
    version: int = 3,
    backing: bytes = b"",
    cluster_bits: int = 16,
    size: int = GIB,
    encryption: int = 0,
    l1_size: int = 2,
    snapshots: int = 0,
    incompatible: int = 0,
    extensions: tuple[tuple[int, bytes], ...] = (),
    length: int = 104,
) -> bytes:
    tail = b"".join(struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8) for kind, data in extensions)
    tail += bytes(8)
    at = (length if version == 3 else 72) + len(tail)
    fixed = struct.pack(
        ">4sIQIIQIIQQIIQ",
        *(b"QFI\xfb", version, at if backing else 0, len(backing), cluster_bits, size),
        *(encryption, l1_size, 3 << 16, 1 << 16, 1, snapshots, 0),
    )
    if version == 3:
        fixed += struct.pack(">QQQII", incompatible, 0, 0, 4, length) + bytes(length - 104)
    return (fixed + tail + backing).ljust(4096, b"\0")


def rejected(data: bytes, why: str) -> None:
    with pytest.raises(ImageRejected, match=why):
        qcow2.refuse_unsafe(qcow2.parse(data), max_virtual_size=GIB)


@pytest.mark.parametrize("version", [2, 3])
def test_a_plain_header_passes(version: int) -> None:
    parsed = qcow2.parse(header(version=version))
    assert (parsed.version, parsed.virtual_size, parsed.cluster_size) == (version, GIB, 65536)
    assert (parsed.backing_file, parsed.backing_format, parsed.encrypted) == (None, None, False)
    qcow2.refuse_unsafe(parsed, max_virtual_size=GIB)


@given(
    backing=st.binary(min_size=1, max_size=1023),
    backing_format=st.sampled_from(["raw", "qcow2"]),
    size=st.integers(0, 2**64 - 1),
    bits=st.integers(9, 21),
    version=st.sampled_from([2, 3]),
)
def test_what_is_written_is_read(backing: bytes, backing_format: str, size: int, bits: int, version: int) -> None:
    extensions = ((0x6803F857, b"names" * 3), (0xE2792ACA, backing_format.encode()))
    data = header(backing=backing, size=size, cluster_bits=bits, version=version, extensions=extensions)
    if data.index(backing, 72) + len(backing) > 1 << bits or (1 << bits) < 1400:
        return
    parsed = qcow2.parse(data)
    assert (parsed.backing_file, parsed.backing_format, parsed.virtual_size) == (backing, backing_format, size)
    rejected(data, "backing file")


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_noise_is_parsed_or_rejected_and_nothing_else(noise: bytes, more: bytes) -> None:
    for data in (noise, b"QFI\xfb" + noise, b"QFI\xfb\0\0\0\3" + noise + more, header()[: len(noise)] + more):
        try:
            qcow2.parse(data)
        except ImageRejected:
            continue


@given(st.integers(72, 4095), st.integers(0, 255))
def test_a_header_with_one_byte_changed_is_parsed_or_rejected(at: int, value: int) -> None:
    data = bytearray(header(extensions=((0x6803F857, b"names"),)))
    data[at] = value
    try:
        qcow2.refuse_unsafe(qcow2.parse(bytes(data)), max_virtual_size=GIB)
    except ImageRejected:
        return


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (header(incompatible=1), "not closed cleanly"),
        (header(incompatible=2), "marked as corrupt"),
        (header(incompatible=4), "data in another file"),
        (header(incompatible=1 << 5), "features that are not known here .bits 0x20"),
        (header(extensions=((0x44415441, b"/etc/passwd"),)), "data in another file"),
        (header(extensions=((0x0537BE77, bytes(16)),)), "encrypted"),
        (header(encryption=1), "encrypted"),
        (header(size=0), "virtual size of 0"),
        (header(size=GIB + 1), "virtual size of 1073741825"),
        (header(size=2**64 - 1), "virtual size"),
        (header(version=1), "version 1 is not supported"),
        (header(version=4), "version 4 is not supported"),
        (header(cluster_bits=8), "damaged: clusters"),
        (header(cluster_bits=63), "damaged: clusters"),
        (header(l1_size=2**31), "tables are larger"),
        (header(snapshots=2**31), "tables are larger"),
        (header(length=104)[:90], "cut off"),
        (header()[:50], "too short"),
        (b"QFI\xfb", "too short"),
        (header(extensions=((1, bytes(8)),)).replace(struct.pack(">II", 1, 8), struct.pack(">II", 1, 2**31)), "longer"),
    ],
)
def test_what_is_more_than_its_own_bytes_is_rejected(data: bytes, why: str) -> None:
    rejected(data, why)


def test_features_that_only_change_the_layout_pass() -> None:
    qcow2.refuse_unsafe(qcow2.parse(header(incompatible=8 | 16)), max_virtual_size=GIB)


@pytest.mark.parametrize("length", [0, 72, 103, 105])
def test_a_header_of_an_impossible_length_is_rejected(length: int) -> None:
    data = bytearray(header())
    struct.pack_into(">I", data, 100, length)
    rejected(bytes(data), "claims to have")


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"\x1f\x8b\x08", "gzip data: decompress it"),
        (b"\xfd7zXZ\0", "xz data: decompress it"),
        (b"\x28\xb5\x2f\xfd", "zstd data: decompress it"),
        (b"BZh9", "bzip2 data"),
        (bytes(257) + b"ustar\0", "a tar archive"),
        (b"KDMV", "VMDK image: convert it"),
        (b"# Disk DescriptorFile\n", "VMDK descriptor"),
        (bytes(64) + b"\x7f\x10\xda\xbe", "VDI image"),
        (b"vhdxfile", "VHDX image"),
        (b"LUKS\xba\xbe\0\1", "LUKS volume"),
    ],
)
def test_what_a_guest_would_see_as_noise_is_rejected_with_advice(head: bytes, why: str) -> None:
    with pytest.raises(ImageRejected, match=why):
        recognise(head.ljust(512, b"\0"))


@pytest.mark.parametrize("head", [b"", bytes(512), b"\xebc\x90" + bytes(509), bytes(510) + b"\x55\xaa"])
def test_everything_else_is_raw(head: bytes) -> None:
    assert recognise(head) is ImageFormat.RAW


def test_an_iso_is_raw() -> None:
    assert recognise(bytes(32768) + b"\1CD001\1") is ImageFormat.RAW


def test_qcow2_is_known_by_its_magic() -> None:
    assert recognise(header()) is ImageFormat.QCOW2
