"""Whatever an API server says, or does not say: only its word that a VM is not there ends a guest."""

import json
import time
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import VM, World
from tests.e2e.faults.lying_servers import PORT, Lie, LyingServer

from berth_dev import controlplane
from berth_dev.clusters import Cluster
from berth_dev.processes import poll_until

pytestmark = pytest.mark.e2e

NODE = "node-1"
LIES = 3
"""How many an agent must have heard, before it is looked at what it does."""
AUDITED = 6.0
"""Seconds in which an agent that lives has compared all that is on the node with the list at least once."""


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[LyingServer]:
    certificates = cluster.run.state / "control-plane" / "certs"
    with LyingServer(str(cluster.run.plan.control_plane), controlplane.API_PORT, certificates) as made:
        yield made


@pytest.fixture
def liar(cluster: Cluster, server: LyingServer) -> Iterator[LyingServer]:
    """Between the API server and the node's agent, for one test."""
    link = cluster.link(f"{NODE}.agent")
    server.told = 0
    link.lead_to(PORT)
    yield server
    server.lie = None
    link.heal()
    agent = cluster.node(NODE).agent
    if not agent.is_running:
        agent.start()
    agent.wait_ready()


@pytest.mark.parametrize("lie", list(Lie), ids=[lie.name.lower().replace("_", "-") for lie in Lie])
def test_no_guest_ends_by_a_lie(world: World, liar: LyingServer, lie: Lie) -> None:
    (vm,) = world.start(world.vm("web", nodeName=NODE, terminationGracePeriodSeconds=0))
    node, domain = world.cluster.node(NODE), f"{world.namespace}_web"
    before = node.qemu(domain)
    number = node.exec(["virsh", "domid", domain]).stdout
    assert before is not None

    liar.lie = lie
    link = world.cluster.link(f"{NODE}.agent")
    link.drop()
    link.heal()
    link.lead_to(PORT)
    _wait_for_lies(liar, world)
    node.agent.kill()
    node.agent.start()
    _wait_for_lies(liar, world)
    assert node.qemu(domain) == before
    liar.lie = None
    link.drop()
    link.heal()

    if not node.agent.is_running:
        node.agent.start()
    node.agent.wait_ready()
    world.start(world.vm("second", nodeName=NODE, terminationGracePeriodSeconds=0))
    world.delete("second")
    assert node.qemu(domain) == before
    assert node.exec(["virsh", "domid", domain]).stdout == number
    after = json.loads(world.kubectl("get", f"{VM}/web", "-o", "json"))["status"]
    assert (after["phase"], after["startedAt"]) == ("Running", vm["status"]["startedAt"])


def _wait_for_lies(liar: LyingServer, world: World) -> None:
    """Let the agent hear lies, and have the time to act on them."""
    told, begun = liar.told, time.monotonic()
    agent = world.cluster.node(NODE).agent
    while liar.told < told + LIES or time.monotonic() < begun + AUDITED:
        if not agent.is_running:  # it has given up, and a kubelet would start it again
            agent.start()
        assert poll_until(begun + 60, interval=0.1), f"the agent heard {liar.told - told} lies only"
