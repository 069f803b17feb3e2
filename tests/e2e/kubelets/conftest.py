"""One cluster of two nodes with kubelets for all tests here: Berth comes to it as to anybody's, by its chart."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.kubelets.boxes import write_box
from tests.e2e.kubelets.installations import Installation

from berth_dev import caches, containers, startup
from berth_dev.clusters import Cluster
from berth_dev.progress import timed_lines
from berth_dev.states import Options

OPTIONS = Options(nodes=2, operator=False, agent=False, kubelets=True)


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_box(tmp_path_factory.mktemp("box") / "box.tar")


@pytest.fixture(scope="session")
def cluster(box: Path) -> Iterator[Cluster]:
    made = Cluster.up("kubelets", OPTIONS, say=print, anew=True)
    made.import_image(box)
    yield made
    made.down()


@pytest.fixture(scope="session")
def images() -> list[Path]:
    cache, project, say = caches.cache_root(), startup.project_root(), timed_lines()
    return [build(cache, project, say) for build in (containers.operator_image, containers.agent_image)]


@pytest.fixture(scope="session")
def berth(cluster: Cluster, images: list[Path]) -> Installation:
    """Installed once; the life of an installation ends with Berth there again, and no VM."""
    for archive in images:
        cluster.import_image(archive)
    made = Installation(cluster)
    made.install("installed")
    return made
