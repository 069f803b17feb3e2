"""One cluster of two nodes with kubelets, all of it of the oldest release of Kubernetes that Berth supports."""

from collections.abc import Iterator

import pytest
from tests.e2e.kubelets.installations import Installation

from berth_dev import caches, containers, startup
from berth_dev.clusters import Cluster
from berth_dev.kubernetesreleases import OLDEST
from berth_dev.progress import timed_lines
from berth_dev.states import Options

OPTIONS = Options(nodes=2, operator=False, agent=False, kubelets=True, kubernetes=OLDEST.minor)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    made = Cluster.up("oldest", OPTIONS, say=print, anew=True)
    yield made
    made.down()


@pytest.fixture(scope="session")
def berth(cluster: Cluster) -> Installation:
    cache, project, say = caches.cache_root(), startup.project_root(), timed_lines()
    for build in (containers.operator_image, containers.agent_image):
        cluster.import_image(build(cache, project, say))
    made = Installation(cluster)
    made.install("installed")
    return made
