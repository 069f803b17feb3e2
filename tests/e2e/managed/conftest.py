"""A cluster of one node that has no libvirt of its own: the chart brings it, with two contents of the same image."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.managed.installations import Installation, with_another_file

from berth_dev import caches, containers, startup
from berth_dev.clusters import Cluster
from berth_dev.progress import timed_lines
from berth_dev.states import Options

OPTIONS = Options(nodes=1, operator=False, agent=False, kubelets=True, libvirt=False)


@pytest.fixture(scope="session")
def images() -> list[Path]:
    cache, project, say = caches.cache_root(), startup.project_root(), timed_lines()
    builders = (containers.operator_image, containers.agent_image, containers.libvirt_image)
    return [build(cache, project, say) for build in builders]


@pytest.fixture(scope="session")
def berth(images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    libvirt = images[-1]
    cluster = Cluster.up("managed", OPTIONS, say=print, anew=True)
    for archive in (*images, with_another_file(libvirt, tmp_path_factory.mktemp("other") / "libvirt.tar")):
        cluster.import_image(archive)
    made = Installation(cluster)
    made.install("installed")
    yield made
    cluster.down()
