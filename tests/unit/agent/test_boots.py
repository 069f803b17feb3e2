"""Which boot of the node this is."""

from pathlib import Path

import pytest

from berth_agent.node.boots import BootUnknown, boot_id


def test_the_kernels_own_is_the_same_at_each_look() -> None:
    path = Path("/proc/sys/kernel/random/boot_id")
    assert boot_id(path) == boot_id(path) == path.read_text(encoding="ascii").strip()


def test_another_file_can_stand_for_it(tmp_path: Path) -> None:
    (tmp_path / "boot_id").write_text("second-boot\n", encoding="ascii")
    assert boot_id(tmp_path / "boot_id") == "second-boot"


@pytest.mark.parametrize("text", ["", "\n", "two words", "<evil/>", "x" * 65, "ü"])
def test_what_is_no_boot_id_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "boot_id").write_text(text, encoding="utf-8")
    with pytest.raises(BootUnknown, match="must hold a boot ID"):
        boot_id(tmp_path / "boot_id")


def test_a_file_that_is_not_there_is_named_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(BootUnknown, match=r"BERTH_AGENT_BOOT_ID_FILE.*nowhere"):
        boot_id(tmp_path / "nowhere")
