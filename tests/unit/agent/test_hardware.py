"""Hardware that the node has not got is refused before anything is made, and a guest that runs is left alone."""

from typing import Any

from tests.unit.agent.conftest import AgentWorld, vm_body

from berth_agent.hypervisor.descriptions import parse
from berth_api.kinds import VIRTUAL_MACHINE


def ready(node: AgentWorld) -> dict[str, Any]:
    return next(c for c in node.status["conditions"] if c["type"] == "Ready")


def edit(node: AgentWorld, **spec: Any) -> None:
    body = node.vm
    assert body is not None
    body["spec"].update(spec)
    body["metadata"]["generation"] += 1
    node.add(VIRTUAL_MACHINE, body)


async def test_a_recorded_machine_type_that_the_node_has_not_got_sends_the_vm_elsewhere(node: AgentWorld) -> None:
    body = vm_body(node.uid)
    body["status"]["machineType"] = "pc-q35-9.2"
    node.add(VIRTUAL_MACHINE, body)
    await node.reconcile()
    assert node.status["refusedClaim"] == "claim-1"
    assert ready(node)["reason"] == "ClaimRefused"
    assert ready(node)["message"].startswith("MachineTypeNotAvailable: the node's QEMU 7.2.0 has no machine type")
    assert await node.traces() == {"domains": [], "attachments": [], "disks": {}, "seeds": frozenset()}


async def test_a_feature_that_the_node_lacks_sends_the_vm_elsewhere(node: AgentWorld) -> None:
    node.add(VIRTUAL_MACHINE, vm_body(node.uid, cpu={"cores": 1, "features": ["avx2", "vmx"]}))
    await node.reconcile()
    assert node.status["refusedClaim"] == "claim-1"
    assert ready(node)["message"] == "CPUFeaturesNotAvailable: the node's CPUs lack vmx under tcg"


async def test_a_guest_has_the_machine_type_and_the_features_that_were_asked_for(node: AgentWorld) -> None:
    cpu = {"cores": 1, "features": ["sse4.2", "avx2"]}
    node.add(VIRTUAL_MACHINE, vm_body(node.uid, machineType="pc-q35-7.1", cpu=cpu))
    await node.reconcile()
    domain = parse(node.hypervisor.xml[node.uid])
    assert domain.findall("os/type")[0].get("machine") == "pc-q35-7.1"
    assert [feature.get("name") for feature in domain.iterfind("cpu/feature")] == ["avx2", "sse4.2"]
    assert node.status["machineType"] == "pc-q35-7.1"


async def test_another_machine_type_comes_in_at_the_next_start(node: AgentWorld) -> None:
    await node.settle()
    assert node.status["machineType"] == "pc-q35-7.2"
    edit(node, machineType="pc-q35-7.1")
    await node.settle()
    assert (node.status["phase"], node.status["machineType"]) == ("Running", "pc-q35-7.2")
    node.hypervisor.crash(node.uid)
    await node.settle()
    assert (node.status["phase"], node.status["machineType"]) == ("Running", "pc-q35-7.1")


async def test_a_spec_that_was_edited_beyond_the_node_holds_the_next_start_back_until_it_is_mended(
    node: AgentWorld,
) -> None:
    await node.settle()
    edit(node, cpu={"cores": 1, "features": ["vmx"]})
    await node.settle()
    assert node.status["phase"] == "Running"
    node.hypervisor.crash(node.uid)
    await node.settle()
    assert (node.status["phase"], ready(node)["reason"]) == ("Failed", "CPUFeaturesNotAvailable")
    assert "refusedClaim" not in node.status
    edit(node, cpu={"cores": 1, "features": ["avx"]})
    await node.settle()
    assert node.status["phase"] == "Running"
