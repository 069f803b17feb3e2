"""The configuration is put right where it is not, and a disk that is full leaves the one that is there."""

import shutil
import uuid
from pathlib import Path

import pytest

from berth_libvirt import configurations

NAMES = ("libvirtd.conf", "qemu.conf", "virtlogd.conf")


def refuse(name: str, error: OSError) -> None:
    raise AssertionError(name) from error


def block(folder: Path) -> None:
    """What is written beside a file, to replace it, cannot be."""
    for name in NAMES:
        (folder / f"{name}.new").mkdir()


def test_guests_run_as_nobody_with_the_group_that_may_use_kvm() -> None:
    assert 'user = "+64055"\ngroup = "+993"\n' in configurations.texts("uuid", 993)["qemu.conf"]
    assert 'group = "+64055"\n' in configurations.texts("uuid", None)["qemu.conf"]


def test_a_nodes_uuid_is_made_once(tmp_path: Path) -> None:
    for _ in range(2):
        configurations.write(tmp_path, tmp_path / "dev", refuse)
    made = (tmp_path / "host-uuid").read_text(encoding="ascii")
    assert f'host_uuid = "{made}"' in (tmp_path / "libvirtd.conf").read_text(encoding="ascii")
    configurations.write(tmp_path, tmp_path / "dev", refuse)
    assert (tmp_path / "host-uuid").read_text(encoding="ascii") == made


@pytest.mark.parametrize("left", [b"", 36 * b"\0", b"\xff\xfe", b"6ba7b810-9dad"])
def test_a_uuid_that_a_power_cut_has_spoilt_is_made_anew(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "host-uuid").write_bytes(left)
    configurations.write(tmp_path, tmp_path / "dev", refuse)
    made = (tmp_path / "host-uuid").read_text(encoding="ascii")
    assert str(uuid.UUID(made)) == made
    assert f'host_uuid = "{made}"' in (tmp_path / "libvirtd.conf").read_text(encoding="ascii")


def test_what_is_right_is_not_written_again(tmp_path: Path) -> None:
    configurations.write(tmp_path, tmp_path / "dev", refuse)
    (tmp_path / "qemu.conf").write_text("", encoding="ascii")
    before = {name: (tmp_path / name).stat().st_ino for name in NAMES}
    configurations.write(tmp_path, tmp_path / "dev", refuse)
    after = {name: (tmp_path / name).stat().st_ino for name in NAMES}
    assert {name for name in NAMES if before[name] != after[name]} == {"qemu.conf"}


def test_where_nothing_can_be_written_what_is_there_stays_and_it_is_told(tmp_path: Path) -> None:
    configurations.write(tmp_path, tmp_path / "dev", refuse)
    (tmp_path / "qemu.conf").write_text("of a former release", encoding="ascii")
    block(tmp_path)
    told: list[str] = []
    configurations.write(tmp_path, tmp_path / "dev", lambda name, _: told.append(name))
    assert told == ["qemu.conf"]
    assert (tmp_path / "qemu.conf").read_text(encoding="ascii") == "of a former release"
    shutil.rmtree(tmp_path / "qemu.conf.new")
    configurations.write(tmp_path, tmp_path / "dev", refuse)
    assert "dynamic_ownership" in (tmp_path / "qemu.conf").read_text(encoding="ascii")


def test_where_nothing_is_there_that_cannot_be_written_nothing_is_started(tmp_path: Path) -> None:
    block(tmp_path)
    with pytest.raises(OSError, match="Is a directory"):
        configurations.write(tmp_path, tmp_path / "dev", refuse)
