"""What goes wrong on a node stands on the object, does not stop what must win, and is not taken for a bug."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.fakes.hypervisor import CAPABILITIES
from tests.unit.agent.conftest import AgentWorld, vm_body

from berth_agent.hypervisor.errors import OperationFailed, Unavailable
from berth_agent.network.errors import DatapathFailed
from berth_agent.node.facts import NodeFacts
from berth_agent.reconcile.rounds import Owner
from berth_agent.storage.seeds import Seeds
from berth_api.client import Conflict, Forbidden
from berth_api.kinds import NETWORK_ATTACHMENT_DEFINITION, STORAGE_POOL, VIRTUAL_MACHINE, VIRTUAL_NETWORK
from berth_api.virtualmachines import VirtualMachine
from berth_api.workqueues import TryLater


def condition(node: AgentWorld, kind: str) -> dict[str, Any]:
    return next(c for c in node.status["conditions"] if c["type"] == kind)


def delete(node: AgentWorld) -> None:
    body = node.vm
    assert body is not None
    body["metadata"]["deletionTimestamp"] = node.now.isoformat()
    node.api.add(VIRTUAL_MACHINE, body)


async def test_a_machine_type_that_no_domain_can_have_is_said_on_the_object(node: AgentWorld) -> None:
    host = replace(CAPABILITIES, machine_types=("isapc",), default_machine_type="isapc")
    node.tools = replace(node.tools, facts=NodeFacts(host, node.pools))
    node.reconciler = node.new_reconciler()
    assert await node.reconcile()
    assert condition(node, "Ready")["reason"] == "InvalidDomainRequest"
    assert "machine_type" in condition(node, "Ready")["message"]
    assert node.status["phase"] == "Failed"


async def test_a_seed_that_cannot_be_written_is_said_on_the_object_and_tried_again(
    node: AgentWorld, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    node.tools = replace(node.tools, seeds=Seeds(tmp_path / "file"))
    node.reconciler = node.new_reconciler()
    wait = await node.reconcile()
    assert wait is not None
    assert wait < 10
    assert condition(node, "DisksReady")["reason"] == "NodeFileFailed"
    assert node.status["phase"] == "Starting"


async def test_libvirt_being_away_is_no_bug_and_is_tried_again(node: AgentWorld) -> None:
    await node.load()
    node.hypervisor.fail("domain", Unavailable("libvirtd is not there"))
    with pytest.raises(TryLater, match="libvirtd"):
        await node.reconciler.reconcile(node.owner)


async def test_remains_that_cannot_be_taken_down_are_tried_again(node: AgentWorld) -> None:
    await node.reconcile()
    node.tools.view.forget(VIRTUAL_MACHINE, node.vm or {})
    node.api.remove(VIRTUAL_MACHINE, "web", "default")
    node.attachments.faults.append(DatapathFailed("busy"))
    with pytest.raises(TryLater, match="busy"):
        await node.reconciler.reconcile(node.owner)


async def test_a_pool_that_is_not_here_is_a_refusal_not_silence(node: AgentWorld) -> None:
    node.api.remove(STORAGE_POOL, "default")
    await node.reconcile()
    assert node.status["refusedClaim"] == "claim-1"
    assert "StoragePoolNotReady" in condition(node, "Ready")["message"]


@pytest.mark.parametrize("trouble", ["the pool is gone", "the disk is damaged"])
async def test_delete_wins_over_trouble_with_a_disk(node: AgentWorld, tmp_path: Path, trouble: str) -> None:
    await node.reconcile()
    if trouble == "the pool is gone":
        pool = node.api.peek(STORAGE_POOL, "default") or {}
        node.api.remove(STORAGE_POOL, "default")
        node.tools.view.forget(STORAGE_POOL, pool)
    else:
        next((tmp_path / "pool").iterdir()).write_bytes(b"no disk at all")
    delete(node)
    await node.settle()
    assert node.status["releasedClaim"] == "claim-1"


async def test_a_damaged_disk_is_said_on_the_object(node: AgentWorld, tmp_path: Path) -> None:
    await node.load()
    await node.tools.disks.ensure_disk(vm_uid=node.uid, disk_name="root", pool_name="default", size=1024**2)
    next((tmp_path / "pool").iterdir()).write_bytes(b"no disk at all")
    await node.reconcile()
    assert condition(node, "DisksReady")["reason"] == "DiskMismatch"


async def test_an_odd_file_among_the_consoles_is_nobodys(node: AgentWorld, tmp_path: Path) -> None:
    (tmp_path / "consoles" / "notes.log").write_text("")
    assert node.tools.consoles.owners() == frozenset()


async def test_a_guest_that_ends_during_a_hold_is_not_called_running(node: AgentWorld) -> None:
    await node.reconcile()
    node.attachments.here = {
        key: replace(state, broken="the tap is gone") for key, state in node.attachments.here.items()
    }
    node.attachments.faults.append(DatapathFailed("busy"))
    assert await node.reconcile()
    node.hypervisor.crash(node.uid)
    await node.reconcile()
    assert node.status["phase"] != "Running"


async def test_a_start_that_fails_is_not_tried_again_at_each_event_that_it_causes(node: AgentWorld) -> None:
    node.hypervisor.fail("start", OperationFailed("no memory"))
    assert await node.reconcile()
    assert await node.reconcile()
    assert node.hypervisor.methods().count("start") == 1


async def test_what_a_namesake_is_told_by_mistake_is_put_right(node: AgentWorld) -> None:
    """The server does not compare UIDs on /status: a late report can reach the object that follows."""
    await node.load()
    second = "11111111-2222-4333-8444-555555555555"
    node.api.remove(VIRTUAL_MACHINE, "web", "default")
    node.add(VIRTUAL_MACHINE, vm_body(second) | {"status": {**vm_body(second)["status"], "claim": _claim("claim-2")}})
    with pytest.raises(Conflict):
        await node.reconciler.reconcile(node.owner)
    await node.load()
    await node.reconciler.reconcile(node.owner)
    await node.reconciler.reconcile(Owner("default", "web", second))
    assert node.status["admittedClaim"] == "claim-2"
    assert await node.tools.disks.observe() == {second: frozenset({"root"})}


def _claim(claim_id: str) -> dict[str, Any]:
    claim: dict[str, Any] = vm_body("u")["status"]["claim"]
    return claim | {"id": claim_id}


@pytest.mark.parametrize("reason", ["", "not one word", "x" * 2000])
async def test_whatever_a_proxy_says_becomes_a_reason_that_a_condition_takes(node: AgentWorld, reason: str) -> None:
    reference = {"networkAttachmentDefinitionRef": {"namespace": "infra", "name": "lan"}}
    node.add(VIRTUAL_NETWORK, {"metadata": {"name": "default"}, "spec": reference})
    node.api.fail(Forbidden(403, reason, "no"), verb="get", kind=NETWORK_ATTACHMENT_DEFINITION)
    await node.reconcile()
    assert condition(node, "NetworkReady")["reason"] == "Forbidden"


def test_an_object_that_cannot_be_read_is_not_quoted_in_the_error() -> None:
    body = vm_body("u", cloudInit={"userData": ["password"]})
    with pytest.raises(ValidationError) as error:
        VirtualMachine.from_api(body)
    assert "password" not in str(error.value)


async def test_an_object_that_cannot_be_read_destroys_nothing(node: AgentWorld) -> None:
    await node.reconcile()
    before = await node.traces()
    body = node.vm or {}
    node.tools.view.forget(VIRTUAL_MACHINE, body)
    node.api.add(VIRTUAL_MACHINE, {**body, "spec": {"disks": 7}})
    with pytest.raises(TryLater):
        await node.reconciler.reconcile(node.owner)
    assert await node.traces() == before
