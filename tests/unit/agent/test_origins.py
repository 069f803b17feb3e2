"""Notes of whose a VM is go with the last of it, and not before."""

from uuid import uuid4

import pytest
from structlog.testing import capture_logs
from tests.unit.agent.conftest import AgentWorld, vm_body

from berth_agent.hypervisor.errors import OperationFailed
from berth_agent.node.origins import Origins
from berth_agent.node.storage_pools import NodePools
from berth_agent.reconcile.reaping import find_remains
from berth_api.kinds import VIRTUAL_MACHINE


def refuse(node: AgentWorld) -> None:
    """Let the VM have a claim that is too small for it."""
    body = vm_body(node.uid)
    body["status"]["claim"]["memory"] = "1Mi"
    node.add(VIRTUAL_MACHINE, body)


async def test_a_claim_that_is_refused_leaves_no_note(node: AgentWorld) -> None:
    refuse(node)
    await node.reconcile()
    assert node.status["refusedClaim"] == "claim-1"
    assert await node.tools.origins.own() == frozenset()


async def test_a_claim_that_is_refused_leaves_the_note_of_what_was_noted_before(node: AgentWorld) -> None:
    await node.tools.origins.note(node.uid, namespace="default", name="web", pools=["former"])
    refuse(node)
    await node.reconcile()
    assert node.status["refusedClaim"] == "claim-1"
    assert await node.tools.origins.own() == {node.uid}


async def test_an_audit_forgets_whose_nothing_is_here_and_nobody_else(node: AgentWorld) -> None:
    await node.reconcile()
    origins, adopted, elsewhere = node.tools.origins, str(uuid4()), str(uuid4())
    body = vm_body(node.uid)
    body["status"]["claim"] |= {"adopts": adopted, "virtualMachineUID": node.uid}
    node.add(VIRTUAL_MACHINE, body)
    body = vm_body(elsewhere)
    body["metadata"]["name"], body["status"]["nodeName"] = "other", "node-2"
    node.add(VIRTUAL_MACHINE, body)
    with_a_disk, foreign, nobody = str(uuid4()), str(uuid4()), str(uuid4())
    await node.tools.disks.ensure_disk(vm_uid=with_a_disk, disk_name="root", pool_name="default", size=2**20)
    await Origins(node.directory / "origins", "cluster-0").note(foreign, namespace="default", name="theirs")
    for uid in (adopted, elsewhere, with_a_disk, nobody):
        await origins.note(uid, namespace="default", name="any")
    await find_remains(node.tools)
    assert await origins.own() == {node.uid, adopted, with_a_disk}
    assert await origins.foreign() == {foreign}


async def test_while_a_pool_is_down_nobody_is_forgotten(node: AgentWorld) -> None:
    node.hypervisor.fail("ensure_pool", OperationFailed("it is not mounted"))
    node.pools = NodePools(node.hypervisor)
    await node.restart()
    gone = str(uuid4())
    await node.tools.origins.note(gone, namespace="default", name="any")
    await find_remains(node.tools)
    assert await node.tools.origins.own() == {gone}


async def test_a_vm_that_is_bound_here_after_the_list_was_made_keeps_its_note(node: AgentWorld) -> None:
    await node.load()
    await node.tools.origins.note(node.uid, namespace="default", name="web")
    node.api.remove(VIRTUAL_MACHINE, "web", "default")
    assert node.tools.view.vm(node.uid) is not None, "as the watch is ahead of the list"
    await find_remains(node.tools)
    assert await node.tools.origins.own() == {node.uid}


@pytest.mark.parametrize("decided_for", ["", "another"])
async def test_that_a_claim_for_another_object_counts_for_nothing_is_logged(node: AgentWorld, decided_for: str) -> None:
    body = vm_body(node.uid)
    body["status"]["claim"]["virtualMachineUID"] = decided_for or node.uid
    node.add(VIRTUAL_MACHINE, body)
    with capture_logs() as lines:
        await node.reconcile()
    told = [line for line in lines if line["event"] == "a claim for another object counts for nothing"]
    assert [(line["vm"], line["of"]) for line in told] == ([("default/web", "another")] if decided_for else [])
