"""The node's Hypervisor object: made, kept true, made again where somebody deleted it, and else left alone."""

from typing import Any

import pytest
from tests.unit.agent.conftest import NODE, AgentWorld

from berth_agent.hypervisor.errors import OperationFailed
from berth_agent.node.reports import NodeReporter
from berth_api.client import Unavailable
from berth_api.kinds import HYPERVISOR, NETWORK_ATTACHMENT_DEFINITION, POD, STORAGE_POOL, VIRTUAL_NETWORK


@pytest.fixture
async def reporter(node: AgentWorld) -> NodeReporter:
    made = NodeReporter(node.tools, agent_version="1.2.3")
    await node.tools.images.start()
    await node.load()
    await made.ensure_object()
    return made


def status(node: AgentWorld) -> dict[str, Any]:
    body = node.api.peek(HYPERVISOR, NODE)
    assert body is not None
    found: dict[str, Any] = body.get("status", {})
    return found


async def test_it_says_what_the_node_has_and_leaves_the_spec_to_the_administrator(
    node: AgentWorld, reporter: NodeReporter
) -> None:
    await reporter.report()
    told = status(node)
    assert told["capacity"] == {"cpu": "8", "memory": "16Gi"}
    assert (told["accelerator"], told["agentVersion"]) == ("tcg", "1.2.3")
    assert told["cpuFeatures"] == ["avx", "avx2", "sse4.2"]
    assert told["machineTypes"] == ["pc-q35-7.1", "pc-q35-7.2", "q35"]
    assert told["firmware"] == ["BIOS", "EFI", "SecureBoot"]
    assert told["publicKey"] == node.tools.key.public
    assert told["networks"] == [{"name": "default", "ready": True, "message": ""}]
    assert [pool["name"] for pool in told["storagePools"]] == ["default"]
    assert (node.api.peek(HYPERVISOR, NODE) or {})["spec"] == {}


async def test_it_says_what_the_nodes_pods_request(node: AgentWorld, reporter: NodeReporter) -> None:
    await reporter.report()
    assert status(node)["podRequests"] == {"cpu": "0", "memory": "0"}
    for name, cpu in (("a", "100m"), ("b", "1")):
        node.tools.view.put(POD, pod(name, cpu))
    await reporter.report()
    assert status(node)["podRequests"] == {"cpu": "1100m", "memory": "128Mi"}
    before = len(node.api.writes)
    node.tools.view.put(POD, pod("a", "100m", version="2", phase="Running"))
    await reporter.report()
    assert len(node.api.writes) == before, "another state of a Pod, the same sum"


def pod(name: str, cpu: str, *, version: str = "1", phase: str = "Pending") -> dict[str, Any]:
    requests = {"cpu": cpu, "memory": "64Mi"}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": version},
        "spec": {"nodeName": NODE, "containers": [{"name": "c", "resources": {"requests": requests}}]},
        "status": {"phase": phase},
    }


async def test_an_unchanged_node_causes_no_writes(node: AgentWorld, reporter: NodeReporter) -> None:
    await reporter.report()
    before = len(node.api.writes)
    await reporter.report()
    assert len(node.api.writes) == before


async def test_a_write_that_failed_is_done_again(node: AgentWorld, reporter: NodeReporter) -> None:
    node.api.fail(Unavailable(503, "", "down"), verb="apply")
    with pytest.raises(Unavailable):
        await reporter.report()
    await reporter.report()
    assert status(node)["agentVersion"] == "1.2.3"


async def test_one_that_is_there_already_is_taken_over(node: AgentWorld, reporter: NodeReporter) -> None:
    await reporter.ensure_object()
    await NodeReporter(node.tools, agent_version="1.2.4").report()
    assert status(node)["agentVersion"] == "1.2.4"


async def test_one_that_somebody_deleted_is_made_again_and_reported_on(
    node: AgentWorld, reporter: NodeReporter
) -> None:
    await reporter.report()
    node.tools.view.forget(HYPERVISOR, node.api.peek(HYPERVISOR, NODE) or {})
    node.api.remove(HYPERVISOR, NODE)
    await reporter.report()
    assert status(node)["agentVersion"] == "1.2.3"


async def test_one_that_was_replaced_unseen_is_reported_on(node: AgentWorld, reporter: NodeReporter) -> None:
    await reporter.report()
    node.api.remove(HYPERVISOR, NODE)
    node.tools.view.put(HYPERVISOR, node.api.add(HYPERVISOR, {"metadata": {"name": NODE}, "spec": {}}))
    await reporter.report()
    assert status(node)["agentVersion"] == "1.2.3"


async def test_a_pool_with_a_problem_does_not_disturb_the_others(
    node: AgentWorld, reporter: NodeReporter, tmp_path: Any
) -> None:
    node.tools.view.put(
        STORAGE_POOL,
        {"metadata": {"name": "broken", "uid": "p", "resourceVersion": "1"}, "spec": {"path": str(tmp_path / "no")}},
    )
    node.hypervisor.fail("ensure_pool", None, OperationFailed("the path is a file"))
    await reporter.report()
    pools = {pool["name"]: pool for pool in status(node)["storagePools"]}
    assert pools["default"]["ready"]
    assert not pools["broken"]["ready"]
    assert "the path is a file" in pools["broken"]["message"]


def network(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": "1"}, "spec": spec}


async def test_a_network_that_cannot_be_served_here_says_why(node: AgentWorld, reporter: NodeReporter) -> None:
    reference = {"namespace": "kube-system", "name": "lan"}
    node.tools.view.put(VIRTUAL_NETWORK, network("missing", networkAttachmentDefinitionRef=reference))
    await reporter.report()
    told = {network["name"]: network for network in status(node)["networks"]}
    assert told["default"]["ready"]
    assert "there is no NetworkAttachmentDefinition kube-system/lan" in told["missing"]["message"]


async def test_an_api_server_that_is_away_does_not_make_a_network_unready(
    node: AgentWorld, reporter: NodeReporter
) -> None:
    reference = {"namespace": "kube-system", "name": "lan"}
    node.tools.view.put(VIRTUAL_NETWORK, network("referred", networkAttachmentDefinitionRef=reference))
    node.api.fail(Unavailable(503, "", "down"), verb="get", kind=NETWORK_ATTACHMENT_DEFINITION)
    with pytest.raises(Unavailable):
        await reporter.report()
    assert status(node) == {}
