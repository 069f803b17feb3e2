"""An image is named after what it is built from: by every byte of that, and by nothing else."""

import os
from pathlib import Path

import pytest

from berth_dev.containers import SOURCES, copy_sources, targets


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for source in SOURCES:
        path = root / source
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.partition(".")[2] or source in {"Dockerfile", "LICENSE"}:
            path.write_text(source, encoding="utf-8")
        else:
            path.mkdir()
            (path / "module.py").write_text(source, encoding="utf-8")
    return root


def test_a_copy_has_the_sources_and_nothing_else(project: Path, tmp_path: Path) -> None:
    (project / "operator/berth_operator/__pycache__").mkdir()
    (project / "operator/berth_operator/__pycache__/module.pyc").touch()
    (project / "kubeconfig").write_text("secret", encoding="utf-8")
    copy_sources(project, tmp_path / "copy")
    copied = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert copied == {source if (project / source).is_file() else f"{source}/module.py" for source in SOURCES}


def test_the_digest_follows_content_and_paths_but_not_dates(project: Path, tmp_path: Path) -> None:
    first = copy_sources(project, tmp_path / "1")
    module = project / "operator/berth_operator/module.py"
    os.utime(module, (1, 1))
    assert copy_sources(project, tmp_path / "2") == first
    moved = module.rename(module.with_name("other.py"))
    renamed = copy_sources(project, tmp_path / "3")
    assert renamed != first
    moved.write_text("changed", encoding="utf-8")
    assert copy_sources(project, tmp_path / "4") not in {first, renamed}


def test_a_releases_images_are_those_that_its_own_dockerfile_has(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base AS build\nFROM scratch AS pause\nFROM scratch AS agent\n", "utf-8")
    assert targets(tmp_path) == ["agent", "pause"]
