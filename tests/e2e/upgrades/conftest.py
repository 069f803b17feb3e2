"""One cluster of two nodes with kubelets, and two releases of Berth: the last one before the present, and this one.

`UPGRADE_FROM=<commit>` tries another one than the last.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from berth_dev import caches, containers, startup
from berth_dev.clusters import Cluster
from berth_dev.history import FormerRelease, former_release
from berth_dev.progress import timed_lines
from berth_dev.states import Options

OPTIONS = Options(nodes=2, operator=False, agent=False, kubelets=True)


@dataclass(frozen=True)
class Release:
    """A release of Berth: its tree, and the images that its own recipe makes."""

    tree: Path
    images: tuple[Path, ...]

    @property
    def chart(self) -> Path:
        return self.tree / "charts" / "berth"

    @classmethod
    def of(cls, tree: Path) -> "Release":
        cache, say = caches.cache_root(), timed_lines()
        builds = (containers.operator_image, containers.agent_image)
        return cls(tree, tuple(build(cache, tree, say) for build in builds))


@pytest.fixture(scope="session")
def former() -> Release:
    project, chosen = startup.project_root(), os.environ.get("UPGRADE_FROM")
    release = FormerRelease(chosen, chosen) if chosen else former_release(project)
    return Release.of(release.tree(caches.cache_root(), project, timed_lines()))


@pytest.fixture(scope="session")
def present(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A copy: somebody may work on the tree meanwhile, and images, chart and definitions are those of one moment."""
    project, tree = startup.project_root(), tmp_path_factory.mktemp("present")
    for folder in ("charts", "crds", "examples"):
        shutil.copytree(project / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    containers.copy_sources(project, tree)
    return Release.of(tree)


@pytest.fixture(scope="session")
def cluster(former: Release, present: Release) -> Iterator[Cluster]:
    """A cluster whose nodes have the images of both."""
    made = Cluster.up("upgrades", OPTIONS, say=print, anew=True)
    for archive in (*former.images, *present.images):
        made.import_image(archive)
    yield made
    made.down()
