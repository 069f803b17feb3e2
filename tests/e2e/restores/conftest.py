"""A cluster of two nodes whose control plane is lost while guests run."""

from collections.abc import Iterator

import pytest
from tests.e2e.conftest import image, network

from berth_dev.clusters import Cluster
from berth_dev.states import Options


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Each test has its own: nothing is left of what it was. Heartbeats are quicker than by default."""
    made = Cluster.up(
        "restore",
        Options(
            nodes=2,
            operator_env={
                "BERTH_OPERATOR_HEARTBEAT_TIMEOUT": "12",
                "BERTH_OPERATOR_LEASE_DURATION": "6",
                "BERTH_OPERATOR_LEASE_RENEW_DEADLINE": "4",
                "BERTH_OPERATOR_LEASE_RETRY": "1",
            },
            agent_env={
                "BERTH_AGENT_AUDIT_INTERVAL": "5",
                "BERTH_AGENT_HEARTBEAT": "3",
                "BERTH_AGENT_HEARTBEAT_VALID": "12",
            },
        ),
        say=print,
        anew=True,
    )
    furnish(made)
    yield made
    made.down()


def furnish(cluster: Cluster) -> None:
    """What VMs refer to."""
    prefix = str(cluster.vm_subnet.network_address).rpartition(".")[0]
    cluster.kubectl.apply([network("default", prefix), image("tiny", cluster)])
