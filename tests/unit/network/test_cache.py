"""Records are whole or not there, for root alone, and a damaged one stops only its own NIC."""

import stat
from pathlib import Path

import pytest
from tests.unit.network.samples import UID, chain, entry, request

from berth_agent.network.attachments import Attachment, Route
from berth_agent.network.cache import AttachmentCache
from berth_agent.network.datapaths import HostLinks
from berth_agent.network.errors import CacheUnreadable


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    cache = AttachmentCache(tmp_path / "new" / "folder")
    full = entry(
        phase="complete",
        request=request(
            routes=(Route("10.0.0.0/8", "10.0.0.1"),), ip_addresses=("10.0.0.5/24",), chain=chain(version="1.1.0")
        ),
        capability_args={"ips": ["10.0.0.5/24"]},
        result={"ips": [{"address": "10.0.0.5/24"}]},
        attachment=Attachment(interface="default", container_id="c", sandbox="s", tap_device="t", mac_address="m"),
        links=HostLinks(tap=7, veth=8),
        kept_tap=7,
    )
    cache.write(entry())
    cache.write(full)
    assert cache.read(UID, "default") == full
    assert list(cache.entries()) == [full]


def test_only_root_may_read_what_plugins_are_given(tmp_path: Path) -> None:
    cache = AttachmentCache(tmp_path / "records")
    cache.write(entry())
    (path,) = (tmp_path / "records").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_write_that_was_cut_off_is_not_seen(tmp_path: Path) -> None:
    cache = AttachmentCache(tmp_path)
    cache.write(entry())
    (path,) = tmp_path.iterdir()
    path.with_suffix(".new").write_text('{"format": 1, "pha')
    assert cache.read(UID, "default") == entry()
    assert list(cache.entries()) == [entry()]


def test_a_damaged_record_is_an_error_for_its_nic_alone(tmp_path: Path) -> None:
    cache = AttachmentCache(tmp_path)
    cache.write(entry())
    (damaged,) = tmp_path.iterdir()
    other = entry(request=request(interface="second"))
    cache.write(other)
    damaged.write_text("{}")
    with pytest.raises(CacheUnreadable, match=f"{damaged} cannot be read"):
        cache.read(UID, "default")
    assert list(cache.entries()) == [other]


def test_forgetting_twice_is_fine(tmp_path: Path) -> None:
    cache = AttachmentCache(tmp_path)
    assert cache.read(UID, "default") is None
    cache.write(entry())
    cache.remove(entry())
    cache.remove(entry())
    assert list(cache.entries()) == []


def test_what_another_process_has_replaced_is_read_anew(tmp_path: Path) -> None:
    mine, theirs = AttachmentCache(tmp_path), AttachmentCache(tmp_path)
    mine.write(entry())
    assert mine.read(UID, "default") == entry()
    assert mine.read(UID, "default") is mine.read(UID, "default")
    theirs.write(entry(phase="removing"))
    assert mine.read(UID, "default") == entry(phase="removing")
    theirs.remove(entry())
    assert mine.read(UID, "default") is None
    assert list(mine.entries()) == []
