"""What is in the cache under its final name is whole, and is built once."""

import shutil
import threading
from pathlib import Path

import pytest

from berth_dev.caches import cached, key_of
from berth_dev.errors import CommandError
from berth_dev.progress import silent


def test_a_failed_build_leaves_nothing_and_the_next_one_starts_clean(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x", encoding="utf-8")
        raise CommandError("no")

    with pytest.raises(CommandError):
        cached(tmp_path, "k", "t", fail, silent)
    assert list(tmp_path.iterdir()) == []
    built = cached(tmp_path, "k", "t", lambda folder: (folder / "whole").touch(), silent)
    assert [path.name for path in built.iterdir()] == ["whole"]


def test_what_a_killed_build_left_is_not_used(tmp_path: Path) -> None:
    (tmp_path / ".k.building").mkdir(parents=True)
    (tmp_path / ".k.building" / "half").touch()
    built = cached(tmp_path, "k", "t", lambda folder: (folder / "whole").touch(), silent)
    assert [path.name for path in built.iterdir()] == ["whole"]


def test_two_at_once_build_once(tmp_path: Path) -> None:
    builds: list[Path] = []
    both_here = threading.Barrier(2)

    def ask() -> None:
        both_here.wait(timeout=10)
        cached(tmp_path, "k", "t", builds.append, silent)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(builds) == 1


def test_the_key_follows_from_names_and_contents(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_text("x", encoding="utf-8")
    shutil.copy(one, other)
    keys = {key_of(files=[one]), key_of(files=[other]), key_of(files=[one, other]), key_of("x"), key_of("x", "")}
    assert len(keys) == 5
    assert key_of("v", files=[one]) == key_of("v", files=[one])
