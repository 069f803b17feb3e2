"""The images have the very versions that are tested: the lock's, for what each half depends on, and nothing else."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from berth_dev.startup import project_root

_LOCKS = Path("dev/container-images")


def _read(path: Path) -> dict[str, str]:
    """Names, and the version and hashes of each."""
    found = {}
    for block in re.split(r"\n(?=\S)", (project_root() / path).read_text(encoding="utf-8").strip()):
        name, version, *hashes = re.split(r"==|\s*\\\n\s*", block)
        found[name] = " ".join([version, *sorted(hashes)])
    return found


def _closure(wanted: list[Requirement]) -> set[str]:
    """What requirements lead to, by what is installed here."""
    seen: set[tuple[str, str]] = set()
    while wanted:
        requirement = wanted.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                wanted += [each for each in map(Requirement, requires(name) or []) if _applies(each, extra)]
    return {name for name, _ in seen}


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


@pytest.mark.parametrize("image", ["operator", "agent"])
def test_an_image_has_what_its_half_depends_on_as_it_is_tested(image: str) -> None:
    project = tomllib.loads((project_root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*map(Requirement, project["dependencies"]), *map(Requirement, project["optional-dependencies"][image])]
    everything, locked = _read(Path("requirements.lock")), _read(_LOCKS / f"{image}.lock")
    assert set(locked) == _closure(wanted)
    assert locked == {name: everything[name] for name in locked}


def test_what_builds_the_images_is_hashed_and_agrees_with_the_lock() -> None:
    everything, locked = _read(Path("requirements.lock")), _read(_LOCKS / "build.lock")
    assert all("--hash=sha256:" in said for said in locked.values())
    shared = set(locked) & set(everything)
    assert "hatchling" in shared
    assert {name: locked[name] for name in shared} == {name: everything[name] for name in shared}


def test_the_operator_has_no_libvirt() -> None:
    assert "libvirt-python" not in _read(_LOCKS / "operator.lock")
    assert "libvirt-python" in _read(_LOCKS / "agent.lock")
