"""Guests of another cluster: never taken down, told of, counted, and adopted by the VM whose claim names them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.unit.agent.conftest import NODE, AgentWorld, vm_body

from berth_agent.hypervisor.errors import OperationFailed
from berth_agent.hypervisor.states import DomainPower
from berth_agent.network.errors import DatapathFailed
from berth_agent.node.clusters import cluster_identity
from berth_agent.node.facts import Remains
from berth_agent.node.origins import Origins
from berth_agent.node.remains import RemainsReporter
from berth_agent.node.reports import NodeReporter
from berth_agent.node.storage_pools import NodePools
from berth_agent.reconcile.reaping import find_remains
from berth_agent.reconcile.rounds import Owner
from berth_agent.storage.errors import DiskMismatch
from berth_api.client import Forbidden
from berth_api.hypervisors import HypervisorSpec
from berth_api.kinds import HYPERVISOR, NAMESPACE, VIRTUAL_MACHINE
from berth_api.virtualmachines import Claim, ClaimedPool

FORMER = "6b1f2b1e-41c5-4c8e-9d3b-2f0f6a3b7c01"


@pytest.fixture
async def world(node: AgentWorld) -> AgentWorld:
    """A node that joins cluster-2 while a guest of cluster-1 runs there, whose VM was restored under another UID."""
    node.uid = FORMER
    node.add(VIRTUAL_MACHINE, vm_body(FORMER))
    await node.reconcile()
    assert node.status["phase"] == "Running"
    node.api.remove(VIRTUAL_MACHINE, "web", "default")
    node.uid, node.cluster = str(uuid4()), "cluster-2"
    await node.restart()
    return node


def restore(node: AgentWorld, *, adopts: str | None = FORMER, decided_for: str | None = None) -> None:
    body = vm_body(node.uid)
    body["status"]["claim"] |= {"id": "claim-2", "adopts": adopts, "virtualMachineUID": decided_for or node.uid}
    node.add(VIRTUAL_MACHINE, body)


def told_by(node: AgentWorld) -> list[dict[str, Any]]:
    body = node.api.peek(HYPERVISOR, NODE)
    assert body is not None
    told: list[dict[str, Any]] = body["status"]["remains"]
    return told


async def remains_now(node: AgentWorld) -> Remains:
    await find_remains(node.tools)
    (found,) = node.tools.facts.remains
    return found


async def guest(node: AgentWorld, uid: str) -> Any:
    found = await node.hypervisor.domain(uid)
    assert found is not None
    return found


async def test_what_no_object_here_accounts_for_runs_on(world: AgentWorld) -> None:
    before = await world.traces()
    assert await find_remains(world.tools) == frozenset()
    assert await world.reconciler.reconcile(Owner("default", "web", FORMER)) is None, "an event told of it"
    assert await world.reconciler.reconcile(Owner("", "", FORMER)) is None
    assert await world.traces() == before
    assert (await guest(world, FORMER)).power is DomainPower.RUNNING


async def test_disks_without_a_domain_stay_as_well(world: AgentWorld) -> None:
    await world.hypervisor.destroy(FORMER)
    await world.hypervisor.undefine(FORMER)
    await world.attachments.detach(FORMER, "lan")
    await world.restart()
    assert await find_remains(world.tools) == frozenset()
    await world.reconciler.reconcile(Owner("", "", FORMER))
    assert FORMER in await world.tools.disks.observe()


async def test_a_note_that_cannot_be_read_keeps_what_it_is_about(world: AgentWorld) -> None:
    await world.hypervisor.destroy(FORMER)
    await world.hypervisor.undefine(FORMER)
    (world.directory / "origins" / f"{FORMER}.json").write_text("{")
    await world.restart()
    assert await find_remains(world.tools) == frozenset()


async def test_the_node_tells_of_it_and_gives_nobody_its_room(world: AgentWorld) -> None:
    reporter = NodeReporter(world.tools, agent_version="1")
    await world.tools.images.start()
    await find_remains(world.tools)
    await reporter.report()
    (told,) = (world.api.peek(HYPERVISOR, NODE) or {})["status"]["remains"]
    assert {name: told[name] for name in ("namespace", "name", "uid", "cpu")} == {
        "namespace": "default",
        "name": "web",
        "uid": FORMER,
        "cpu": "1",
    }
    claim = Claim(id="c", epoch=0, cpu="32", memory="1Gi", storage="0")
    room, spec = world.tools.facts.room, HypervisorSpec()
    refusal = world.tools.admissions.refuse("other", claim, room, spec, current_epoch=0)
    assert refusal is not None
    assert refusal.reason == "InsufficientCPU"
    assert world.tools.admissions.needed("other", claim, spec.overcommit).cpu == 32000 // 4, "the anchor is for claims"
    await world.hypervisor.destroy(FORMER)
    await world.hypervisor.undefine(FORMER)
    await reporter.report()
    assert told_by(world)[0]["cpu"] == "0", "its disk is left"
    assert world.tools.admissions.refuse("other", claim, room, spec, current_epoch=0) is None
    await world.attachments.detach(FORMER, "lan")
    await world.tools.disks.delete_disks(FORMER)
    await find_remains(world.tools)
    await reporter.report()
    assert told_by(world) == []


async def test_what_the_guest_has_is_told_its_addresses_and_its_disks(world: AgentWorld) -> None:
    reporter = NodeReporter(world.tools, agent_version="1")
    await world.tools.images.start()
    await find_remains(world.tools)
    await reporter.report()
    (told,) = told_by(world)
    (nic,) = told["interfaces"]
    assert (nic["name"], nic["networkName"]) == ("lan", "default")
    assert nic["macAddress"]
    assert not any("/" in text for text in nic["ipAddresses"])
    (pool,) = told["pools"]
    assert pool["name"] == "default"
    room = world.tools.facts.room
    whole = (ClaimedPool(name="default", size=str(room.pools["default"])),)
    claim = Claim(id="c", epoch=0, cpu="1", memory="1Mi", storage="0", pools=whole)
    refusal = world.tools.admissions.refuse("other", claim, room, HypervisorSpec(), current_epoch=0)
    assert refusal is not None
    assert refusal.reason == "InsufficientStorage"


async def test_disks_without_a_domain_are_told_by_the_note_of_their_vm(world: AgentWorld) -> None:
    await world.hypervisor.destroy(FORMER)
    await world.hypervisor.undefine(FORMER)
    await world.attachments.detach(FORMER, "lan")
    await world.restart()
    reporter = NodeReporter(world.tools, agent_version="1")
    await world.tools.images.start()
    await find_remains(world.tools)
    await reporter.report()
    (told,) = told_by(world)
    assert (told["namespace"], told["name"], told["uid"], told["cpu"]) == ("default", "web", FORMER, "0")
    assert [pool["name"] for pool in told["pools"]] == ["default"]
    restore(world)
    await world.settle()
    assert world.status["phase"] == "Running"
    assert set(await world.tools.disks.observe()) == {world.uid}, "and they are adopted without it"


async def test_disks_in_a_pool_that_is_down_at_first_are_told_until_it_says_that_there_are_none(
    world: AgentWorld,
) -> None:
    """What is not told with the first report may never be told."""
    await world.hypervisor.destroy(FORMER)
    await world.hypervisor.undefine(FORMER)
    await world.attachments.detach(FORMER, "lan")
    world.hypervisor.fail("ensure_pool", OperationFailed("it is not mounted"))
    world.pools = NodePools(world.hypervisor)
    await world.restart()
    assert (await remains_now(world)).pools == {}
    assert (await remains_now(world)).owner == world.owner._replace(uid=FORMER)
    await world.load()
    (pool,) = (await remains_now(world)).pools
    assert pool == "default"
    await world.tools.disks.delete_disks(FORMER)
    await find_remains(world.tools)
    assert world.tools.facts.remains == ()


async def test_disks_in_a_pool_that_goes_down_keep_their_room(world: AgentWorld, tmp_path: Path) -> None:
    await world.hypervisor.destroy(FORMER)
    await world.hypervisor.undefine(FORMER)
    await world.attachments.detach(FORMER, "lan")
    before = await remains_now(world)
    (tmp_path / "pool").rename(tmp_path / "away")
    assert await remains_now(world) == before


async def test_disks_are_not_taken_from_a_vm_of_another_name_either(world: AgentWorld) -> None:
    await world.hypervisor.destroy(FORMER)
    await world.hypervisor.undefine(FORMER)
    note = world.directory / "origins" / f"{FORMER}.json"
    note.write_text(json.dumps({"cluster": "cluster-1", "namespace": "default", "name": "other"}))
    await world.restart()
    restore(world)
    await world.settle(3)
    ready = next(each for each in world.status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NotAdoptable")
    assert set(await world.tools.disks.observe()) == {FORMER}


async def test_that_there_is_nothing_is_told_once_and_on_a_hypervisor_that_is_made_anew_again(node: AgentWorld) -> None:
    """What may be told later is what was told first."""
    reporter = NodeReporter(node.tools, agent_version="1")
    await node.tools.images.start()
    await reporter.report()
    body = node.api.peek(HYPERVISOR, NODE)
    assert body is not None
    assert "remains" not in body["status"], "nobody has looked"
    await find_remains(node.tools)
    await reporter.report()
    assert told_by(node) == []
    writes = len(node.api.writes)
    await reporter.report()
    assert len(node.api.writes) == writes
    node.api.remove(HYPERVISOR, NODE)
    node.tools.view.forget(HYPERVISOR, body)
    await reporter.report()
    assert told_by(node) == []


async def test_of_what_is_refused_that_part_is_told_which_was_told_before(world: AgentWorld) -> None:
    reporter = NodeReporter(world.tools, agent_version="1")
    await world.tools.images.start()
    await find_remains(world.tools)
    await reporter.report()
    (guest_then,) = world.tools.facts.remains
    late = replace(guest_then, owner=guest_then.owner._replace(uid=str(uuid4())))
    await world.hypervisor.destroy(FORMER)
    guest_now = await remains_now(world)
    world.tools.facts.remains = (guest_now, late)
    world.api.fail(Forbidden(403, "Forbidden", "only less"), verb="patch_json", kind=HYPERVISOR)
    await RemainsReporter(world.tools).tell()  # a look would find that the late one is not there
    assert [(each["uid"], each["cpu"]) for each in told_by(world)] == [(FORMER, "0")]


async def test_a_cluster_that_refuses_the_report_has_all_else_of_the_node_told(world: AgentWorld) -> None:
    reporter = NodeReporter(world.tools, agent_version="1")
    await world.tools.images.start()
    await reporter.report()
    await find_remains(world.tools)
    for _ in range(2):
        world.api.fail(Forbidden(403, "Forbidden", "not to be written by agents"), verb="patch_json", kind=HYPERVISOR)
    await reporter.report()
    world.hypervisor.host = replace(world.hypervisor.host, cpus=4)
    await reporter.report()
    told = (world.api.peek(HYPERVISOR, NODE) or {})["status"]
    assert (told["capacity"]["cpu"], told.get("remains", [])) == ("4", [])


async def test_a_claim_that_names_it_makes_it_the_vms_own_without_touching_the_guest(world: AgentWorld) -> None:
    await find_remains(world.tools)
    restore(world)
    started = (await guest(world, FORMER)).started_at
    calls = len(world.hypervisor.calls)
    await world.settle()
    found = await guest(world, world.uid)
    assert (found.power, found.started_at, found.cluster) == (DomainPower.RUNNING, started, "cluster-2")
    assert {call.method for call in world.hypervisor.calls[calls:]} <= {"domain", "domains", "hand_over", "ensure_pool"}
    assert await world.traces() == {
        "domains": [world.uid],
        "attachments": [(world.uid, "lan")],
        "disks": {world.uid: frozenset({"root"})},
        "seeds": frozenset({world.uid}),
    }
    assert (world.status["phase"], world.status["admittedClaim"]) == ("Running", "claim-2")
    assert world.attachments.calls.count(("attach", "lan")) == 1
    assert await find_remains(world.tools) == frozenset(), "its console's log still has the former name"


@pytest.mark.parametrize("dies_after", ["hand_over", "attachments", "seeds", "disks"])
async def test_an_adoption_that_was_cut_off_is_completed(world: AgentWorld, dies_after: str) -> None:
    restore(world)
    tools, owner = world.tools, world.owner
    await world.load()
    parts = {
        "hand_over": lambda: tools.hypervisor.hand_over(FORMER, owner, cluster="cluster-2"),
        "attachments": lambda: tools.attachments.hand_over(FORMER, owner.uid),
        "seeds": lambda: tools.seeds.hand_over(FORMER, owner.uid),
        "disks": lambda: tools.disks.hand_over(FORMER, owner.uid, known=frozenset({"default"})),
    }
    for name, part in parts.items():
        await part()
        if name == dies_after:
            break
    await world.restart()
    assert await find_remains(world.tools) == frozenset()
    await world.settle()
    assert await world.traces() == {
        "domains": [world.uid],
        "attachments": [(world.uid, "lan")],
        "disks": {world.uid: frozenset({"root"})},
        "seeds": frozenset({world.uid}),
    }
    assert world.status["phase"] == "Running"


async def test_it_is_tried_again_where_a_part_fails(world: AgentWorld) -> None:
    restore(world)
    world.hypervisor.fail("hand_over", OperationFailed("not now"))
    world.attachments.faults.append(DatapathFailed("nor this"))
    await world.settle(12)
    assert world.status["phase"] == "Running"
    assert (await guest(world, world.uid)).power is DomainPower.RUNNING


async def test_a_vm_that_is_deleted_takes_down_what_it_adopts(world: AgentWorld) -> None:
    restore(world)
    body = world.vm
    assert body is not None
    body["metadata"]["deletionTimestamp"] = world.now.isoformat()
    world.add(VIRTUAL_MACHINE, body)
    await world.settle(8)
    assert not any((await world.traces()).values())
    assert world.status["releasedClaim"] == "claim-2"


async def test_what_cannot_be_adopted_keeps_no_vm_that_is_deleted(world: AgentWorld) -> None:
    await world.load()
    await world.tools.disks.ensure_disk(vm_uid=world.uid, disk_name="root", pool_name="default", size=64 * 1024**2)
    restore(world)
    body = world.vm
    assert body is not None
    body["metadata"]["deletionTimestamp"] = world.now.isoformat()
    world.add(VIRTUAL_MACHINE, body)
    world.attachments.faults.append(DatapathFailed("nor this"))
    await world.settle(8)
    assert world.status["releasedClaim"] == "claim-2"
    left = await world.traces()
    assert (left["domains"], left["attachments"], set(left["disks"])) == ([], [(FORMER, "lan")], {FORMER})
    world.api.remove(VIRTUAL_MACHINE, "web", "default")
    await world.restart()
    for owner in await find_remains(world.tools):
        await world.reconciler.reconcile(owner)
    assert not any((await world.traces()).values()), "an audit finds what stayed behind"


async def test_after_its_next_start_the_guest_still_knows_itself_by_the_same(world: AgentWorld) -> None:
    restore(world)
    await world.settle(2)
    world.hypervisor.crash(world.uid)
    await world.settle(30)
    found = await guest(world, world.uid)
    assert found.power is DomainPower.RUNNING
    assert found.uuid == FORMER
    assert all(world.uid in disk.source for disk in found.disks), "and has its disks under their new names"


async def test_it_is_not_taken_from_a_vm_of_another_name(world: AgentWorld) -> None:
    restore(world)
    await world.hypervisor.hand_over(FORMER, Owner("default", "other", FORMER), cluster="cluster-1")  # type: ignore[arg-type]  # the same fields
    await world.settle(3)
    assert (await guest(world, FORMER)).owner.name == "other"
    ready = next(each for each in world.status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NotAdoptable")
    assert "adopts a guest of its own name only" in ready["message"]
    body = world.vm
    assert body is not None
    body["metadata"]["deletionTimestamp"] = world.now.isoformat()
    world.add(VIRTUAL_MACHINE, body)
    await world.settle(4)
    assert world.status["releasedClaim"] == "claim-2", "and does not keep its object from going"
    assert (await guest(world, FORMER)).power is DomainPower.RUNNING


async def test_a_disk_is_never_put_in_another_ones_place(world: AgentWorld) -> None:
    await world.load()
    for uid in (FORMER, world.uid):
        await world.tools.disks.ensure_disk(vm_uid=uid, disk_name="root", pool_name="default", size=64 * 1024**2)
    with pytest.raises(DiskMismatch, match="there twice"):
        await world.tools.disks.hand_over(FORMER, world.uid, known=frozenset({"default"}))
    assert set(await world.tools.disks.observe()) == {FORMER, world.uid}


async def test_a_claim_that_was_decided_for_another_object_counts_for_nothing(world: AgentWorld) -> None:
    restore(world, adopts=None, decided_for=FORMER)
    before, writes = await world.traces(), len(world.api.writes)
    await world.settle(3)
    assert await world.traces() == before
    assert len(world.api.writes) == writes
    assert not world.tools.admissions.holds(world.uid)


async def test_what_an_older_agent_made_is_ours_and_says_so_from_then_on(node: AgentWorld) -> None:
    node.cluster = ""
    await node.restart()
    await node.reconcile()
    assert (await guest(node, node.uid)).cluster == ""
    (node.directory / "origins" / f"{node.uid}.json").unlink()
    node.cluster = "cluster-1"
    await node.restart()
    await node.settle(2)
    assert (await guest(node, node.uid)).cluster == "cluster-1"
    assert (await node.tools.origins.of(node.uid)) is not None
    node.cluster = "cluster-2"
    await node.restart()
    node.api.remove(VIRTUAL_MACHINE, "web", "default")
    assert await find_remains(node.tools) == frozenset()


async def test_what_an_older_agent_made_and_nobody_knows_goes_as_it_always_has(node: AgentWorld) -> None:
    node.cluster = ""
    await node.restart()
    await node.reconcile()
    (node.directory / "origins" / f"{node.uid}.json").unlink()
    node.api.remove(VIRTUAL_MACHINE, "web", "default")
    node.cluster = "cluster-1"
    await node.restart()
    assert await find_remains(node.tools) == frozenset({node.owner})


async def test_what_is_left_of_a_vm_is_forgotten_with_it(node: AgentWorld) -> None:
    await node.reconcile()
    assert await Origins(node.directory / "origins", "another").foreign() == {node.uid}
    node.api.remove(VIRTUAL_MACHINE, "web", "default")
    await node.restart()
    await node.reconciler.reconcile(node.owner)
    assert await Origins(node.directory / "origins", "another").foreign() == frozenset()


async def test_a_cluster_is_known_by_its_system_namespace(node: AgentWorld) -> None:
    node.add(NAMESPACE, {"metadata": {"name": "kube-system", "uid": "u-1"}})
    assert await cluster_identity(node.api) == "u-1"


async def test_the_former_uid_is_left_alone_from_the_moment_that_a_claim_names_it(world: AgentWorld) -> None:
    """Even a guest that says nothing of its cluster, as those of older agents do."""
    await world.hypervisor.hand_over(FORMER, Owner("default", "web", FORMER), cluster="")  # type: ignore[arg-type]  # the same fields
    await world.tools.origins.forget(FORMER)
    restore(world)
    await world.restart()
    assert await find_remains(world.tools) == frozenset()
    world.tools = world.new_tools()
    world.reconciler = world.new_reconciler()
    await world.reconciler.reconcile(Owner("default", "web", FORMER))
    assert (await guest(world, FORMER)).power is DomainPower.RUNNING, "although the view has no VM yet"
