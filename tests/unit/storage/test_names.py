"""Names that become files: whatever a user writes, the file stays where it belongs and is read back as what it is."""

from pathlib import PurePosixPath
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_agent.storage.disk_names import disk_file, is_uid, parse_disk_file
from berth_agent.storage.errors import FileOutsideDirectory, InvalidName, InvalidSource
from berth_agent.storage.files import components
from berth_agent.storage.sources import Digest

UIDS = st.uuids().map(str)
LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


@given(UIDS, LABELS)
def test_a_disks_file_is_read_back(uid: str, name: str) -> None:
    file = disk_file(uid, name)
    assert parse_disk_file(file) == (uid, name)
    assert len(file) < 255 - len(".making-")


@given(st.text(), st.text())
def test_a_name_is_safe_or_refused(uid: str, name: str) -> None:
    try:
        file = disk_file(uid, name)
    except InvalidName:
        return
    assert PurePosixPath(file).name == file
    assert str(UUID(uid)) == uid


@given(UIDS, st.text(alphabet="./\\-\0\n aA0ä", max_size=8))
def test_a_disk_name_with_anything_special_is_safe_or_refused(uid: str, name: str) -> None:
    try:
        file = disk_file(uid, name)
    except InvalidName:
        return
    assert parse_disk_file(file) == (uid, name)


@given(st.text())
def test_only_our_files_are_read_as_disks(file: str) -> None:
    parsed = parse_disk_file(file)
    assert parsed is None or disk_file(*parsed) == file


@pytest.mark.parametrize(
    "uid", ["", "a" * 36, "0B9B1F3C-5A8E-4F30-8A52-5A3F1D7C0001", "0b9b1f3c5a8e4f308a525a3f1d7c0001"]
)
def test_a_uid_is_a_lower_case_uuid(uid: str) -> None:
    assert not is_uid(uid)


@given(st.text(alphabet="./ab\0", max_size=12))
def test_a_path_is_refused_or_stays_inside(path: str) -> None:
    try:
        names = components(path)
    except FileOutsideDirectory:
        return
    assert "/".join(names) == path
    assert all(PurePosixPath(name).name == name and name != ".." for name in names)


@given(st.binary(min_size=32, max_size=32))
def test_a_digest_is_read_back_from_its_directory(data: bytes) -> None:
    digest = Digest.parse(f"sha256:{data.hex().upper()}")
    assert Digest.from_directory_name(digest.directory_name) == digest
    assert str(digest) == f"sha256:{data.hex()}"


@given(st.text())
def test_a_checksum_is_a_digest_or_refused(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except InvalidSource:
        return
    assert len(digest.hex) == 64
