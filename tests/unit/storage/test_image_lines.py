"""Log lines about an image that many VMs wait for."""

from pathlib import Path

import pytest
import structlog

from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.errors import StorageError
from berth_agent.storage.image_cache import ImageCache
from berth_agent.storage.sources import FileSource
from berth_api import logs

HEX = "a" * 64


async def test_a_shared_fetch_does_not_carry_the_name_of_the_vm_that_asked_first(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path, destinations=DestinationPolicy(()), clock=lambda: 0.0)
    await cache.start()
    (tmp_path / f"sha256-{HEX}").mkdir()
    (tmp_path / f"sha256-{HEX}" / "image.json").write_text("no JSON")
    with (
        structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines,
        logs.tagged(vm="default/web"),
        pytest.raises(StorageError),
    ):
        await cache.ensure(FileSource(path="debian.qcow2"), f"sha256:{HEX}")
    assert lines
    assert [line for line in lines if "vm" in line] == []
