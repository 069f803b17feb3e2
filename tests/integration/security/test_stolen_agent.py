"""A stolen agent token writes what is its node's: every other attempt is refused, by the rule that is meant for it."""

from collections.abc import Callable

import pytest
from tests.integration.api.apiserver import ApiServer
from tests.integration.security.attempts import ATTEMPTS
from tests.integration.security.calls import Answer, Request, apply, send
from tests.integration.security.conftest import Fingerprint
from tests.integration.security.rules import GROUP, HYPERVISORS, VMS, Attempt

from berth_api.client import ApiClient
from berth_operator.cluster import Cluster
from berth_operator.inventory import facts_of

pytestmark = pytest.mark.integration
Attack = Callable[[Request, str], Answer]


@pytest.mark.parametrize("attempt", [pytest.param(each, id=each.name) for each in ATTEMPTS])
def test_a_stolen_token_does_not(attempt: Attempt, attack: Attack, world: Fingerprint) -> None:
    before = world()
    answer = attack(attempt.request, attempt.token)
    assert (answer.status, attempt.rule.phrase in answer.message) == (attempt.rule.status, True), answer.message
    assert world() == before


def test_the_token_is_good_for_what_it_is_meant_for(attack: Attack, server: ApiServer) -> None:
    """Or every refusal above could be for another reason."""
    for path, body in ((f"{VMS}/mine", {"phase": "Running"}), (f"{HYPERVISORS}/node-1", {"accelerator": "kvm"})):
        answer = attack(apply(f"{path}/status", "berth-agent", {"status": body}), "pod")
        assert answer.status == 200, answer.message
    assert attack(Request("GET", f"{GROUP}/virtualmachines"), "pod").status == 200


def test_what_a_creation_says_of_a_status_is_not_kept(attack: Attack) -> None:
    body = {"metadata": {"name": "node-4"}, "status": {"capacity": {"cpu": "512", "memory": "64Ti"}}}
    answer = attack(Request("POST", f"{HYPERVISORS}?dryRun=All", body), "new")
    assert answer.status == 201
    assert "status" not in answer.body


async def test_a_capacity_that_is_a_lie_is_bounded_by_the_node(attack: Attack, server: ApiServer, admin: str) -> None:
    """The API server cannot know what a node has; the operator takes the kubelet's word against the agent's."""
    lie = {"capacity": {"cpu": "512", "memory": "64Ti"}, "podRequests": {"cpu": "0", "memory": "0"}}
    status = f"{HYPERVISORS}/node-1/status"
    assert attack(apply(status, "berth-agent", {"status": {**lie, "accelerator": "kvm"}}), "pod").status == 200
    cluster = Cluster("berth-system")
    async with await ApiClient.connect(server.kubeconfig, user_agent="tests") as api:
        await cluster.refresh(api)
    hypervisor, node = cluster.hypervisors.get("node-1"), cluster.nodes.get("node-1")
    assert hypervisor is not None
    found = facts_of(hypervisor, node).allocatable
    assert (found.cpu, found.memory) == (4 * 4000, 8 * 1024**3), "4 cores four times over, and 8Gi once"
    honest = {"capacity": {"cpu": "4", "memory": "8Gi"}, "accelerator": "kvm"}
    assert send(server, admin, apply(status, "berth-agent", {"status": honest})).status == 200
