"""Clusters whose states are kept in different roots do not know of each other, and still get places of their own."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from berth_dev.clusters import Cluster
from berth_dev.states import Options

pytestmark = pytest.mark.integration


def test_clusters_made_at_the_same_moment_get_different_addresses(tmp_path: Path) -> None:
    def up(number: int) -> Cluster:
        options = Options(nodes=1, operator=False, agent=False)
        return Cluster.up("together", options, root=tmp_path / f"root-{number}")

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(up, range(2)))
    networks = {cluster.run.plan.network for cluster in made}
    for cluster in made:
        cluster.down()
    assert len(networks) == 2
