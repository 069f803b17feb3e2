"""A cluster whose parts reach the API server through links that can be broken; two nodes, real guests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import STALL_SECONDS, image, network
from tests.e2e.faults.results import Results

from berth_dev import startup
from berth_dev.clusters import Cluster
from berth_dev.states import Options


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the nodes' CNI plugins that tests may put their own into."""
    return tmp_path_factory.mktemp("plugins")


@pytest.fixture(scope="session")
def cluster(plugins: Path) -> Iterator[Cluster]:
    """Leader election, audits and heartbeats are quicker than by default: what waits for them does not wait long.

    `FAULTS_CLUSTER` is its name, so that two runs on one machine do not take each other's down.
    """
    made = Cluster.up(
        os.environ.get("FAULTS_CLUSTER", "faults"),
        Options(
            nodes=2,
            links=True,
            operator_env={
                "BERTH_OPERATOR_LEASE_DURATION": "6",
                "BERTH_OPERATOR_LEASE_RENEW_DEADLINE": "4",
                "BERTH_OPERATOR_LEASE_RETRY": "1",
                "BERTH_OPERATOR_AUDIT_INTERVAL": "15",
                "BERTH_OPERATOR_HEARTBEAT_TIMEOUT": "12",
                "BERTH_OPERATOR_NODE_LOSS_CONFIRM": "8",
            },
            agent_env={
                "BERTH_AGENT_IMAGE_ALLOWED_CIDRS": "10.0.0.0/8",
                "BERTH_AGENT_IMAGE_STALL": STALL_SECONDS,
                "BERTH_AGENT_AUDIT_INTERVAL": "5",
                "BERTH_AGENT_HEARTBEAT": "3",
                "BERTH_AGENT_HEARTBEAT_VALID": "12",
                "BERTH_AGENT_CNI_BIN_DIRS": f"{startup.build(print).cni}:{plugins}",
            },
        ),
        say=print,
        anew=True,
    )
    prefix = str(made.vm_subnet.network_address).rpartition(".")[0]
    made.kubectl.apply([network("default", prefix), image("tiny", made)])
    yield made
    made.down()


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    """The outcomes of all storms; kept in the file that `FAULTS_RESULT` names, if it names one."""
    made = Results()
    yield made
    print(f"\n{made.table()}")  # noqa: T201 - it is what a long run is for
    if path := os.environ.get("FAULTS_RESULT"):
        made.write(Path(path))
