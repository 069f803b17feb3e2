"""One cluster of two nodes with kubelets for all tests here: Berth comes to it as to anybody's, by its chart."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.kubelets.boxes import write_box

from berth_dev.clusters import Cluster
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
