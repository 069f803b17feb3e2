"""A VM's rounds on one node: from bound to running to gone, killed anywhere, refused, never destroyed on a guess."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.agent.conftest import AgentWorld, vm_body

from berth_agent.hypervisor.errors import OperationFailed
from berth_agent.network.errors import PluginNotFound
from berth_agent.reconcile.observe import observe
from berth_agent.reconcile.plan import steps as plans
from berth_agent.reconcile.plan.desired import Desired, Goal, desired_of
from berth_agent.reconcile.plan.observed import Observed, ObservedDisk, ObservedInterface, Power
from berth_agent.reconcile.plan.planning import plan
from berth_agent.reconcile.reaping import find_remains
from berth_agent.reconcile.rounds import Owner, Round
from berth_agent.reconcile.steps import ACTIONS, act
from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.image_cache import ImageCache
from berth_api.client import Forbidden, Gone, Unavailable
from berth_api.kinds import LEASE, VIRTUAL_MACHINE, VIRTUAL_MACHINE_IMAGE, VIRTUAL_NETWORK
from berth_api.virtualmachines import VirtualMachine

START = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING: dict[str, Any] = {"domains": [], "attachments": [], "disks": {}, "seeds": frozenset()}


def condition(node: AgentWorld, kind: str) -> dict[str, Any]:
    return next(c for c in node.status["conditions"] if c["type"] == kind)


def delete(node: AgentWorld) -> None:
    """As the API server does for an object with a finalizer."""
    body = node.vm
    assert body is not None
    body["metadata"]["deletionTimestamp"] = node.now.isoformat()
    node.api.add(VIRTUAL_MACHINE, body)


async def test_a_bound_vm_is_admitted_made_and_started_with_two_writes(node: AgentWorld) -> None:
    await node.reconcile()
    assert node.status["admittedClaim"] == "claim-1"
    assert node.status["phase"] == "Running"
    assert condition(node, "Ready")["status"] == "True"
    assert node.status["interfaces"][0]["ipAddresses"] == ["10.1.1.5"]
    assert "bt-lan" in node.hypervisor.xml[node.uid]
    assert [call.verb for call in node.api.writes] == ["apply", "apply"]


async def test_a_running_vm_causes_no_writes(node: AgentWorld) -> None:
    await node.reconcile()
    before = len(node.api.writes)
    node.now += timedelta(hours=1)
    await node.reconcile()
    assert len(node.api.writes) == before


async def test_no_domain_is_defined_before_the_claim_is_answered(node: AgentWorld) -> None:
    node.api.fail(Unavailable(503, "", "the API server is down"), verb="apply")
    await node.reconcile()
    assert "define" not in node.hypervisor.methods()
    assert "admittedClaim" in node.status, "the round's own report has said it meanwhile"
    node.now += timedelta(seconds=2)
    await node.reconcile()
    assert node.status["phase"] == "Running"


async def test_a_claim_that_does_not_fit_is_refused_and_nothing_is_made(node: AgentWorld) -> None:
    body = vm_body(node.uid)
    body["status"]["claim"]["memory"] = "64Gi"
    node.add(VIRTUAL_MACHINE, body)
    await node.reconcile()
    assert node.status["refusedClaim"] == "claim-1"
    assert "short of" in condition(node, "Ready")["message"]
    assert await node.traces() == NOTHING
    assert await node.reconcile() is None


async def test_a_claim_of_a_former_leader_is_refused(node: AgentWorld) -> None:
    node.add(
        LEASE, {"metadata": {"name": "berth-operator", "namespace": "berth-system"}, "spec": {"leaseTransitions": 7}}
    )
    await node.reconcile()
    assert node.status["refusedClaim"] == "claim-1"
    assert "epoch" in condition(node, "Ready")["message"]


async def test_a_deleted_vm_leaves_nothing_and_releases_its_claim_last(node: AgentWorld) -> None:
    await node.reconcile()
    delete(node)
    await node.settle()
    assert await node.traces() == NOTHING
    assert node.status["releasedClaim"] == "claim-1"
    assert node.status["phase"] == "Terminating"


async def test_a_release_that_could_not_be_written_is_tried_again(node: AgentWorld) -> None:
    await node.reconcile()
    node.hypervisor.crash(node.uid, "Shutdown")
    delete(node)
    away = Unavailable(503, "", "the link is down")
    node.api.fail(away, verb="apply")
    node.api.fail(away, verb="apply")
    with pytest.raises(Unavailable):
        await node.reconcile()
    assert "releasedClaim" not in node.status
    node.now += timedelta(seconds=2)
    await node.settle(rounds=2)
    assert node.status["releasedClaim"] == "claim-1"


async def test_a_guest_that_ignores_the_power_button_is_destroyed_when_its_grace_is_over(node: AgentWorld) -> None:
    await node.reconcile()
    node.hypervisor.ignores_shutdown.add(node.uid)
    delete(node)
    await node.settle(rounds=3)
    assert "releasedClaim" not in node.status
    await node.settle(rounds=2)
    assert node.status["releasedClaim"] == "claim-1"
    assert "destroy" in node.hypervisor.methods()


def steps_of_a_start() -> list[plans.Step]:
    """The plan's own list of steps, so that a new step cannot be forgotten here."""
    machine = VirtualMachine.from_api(vm_body("u"))
    return list(plan(desired_of(machine, Observed()), Observed(), START).steps)


def steps_of_a_removal() -> list[plans.Step]:
    """The same for a VM of which everything is there."""
    there = Observed(
        power=Power.RUNNING,
        interfaces={"lan": ObservedInterface("lan", intact=True)},
        disks={"root": ObservedDisk("root", "/p", 1)},
        has_seed=True,
    )
    return list(plan(Desired(Goal.REMOVE, admitted=True, destroy_at=START), there, START).steps)


async def killed_before(node: AgentWorld, number: int) -> None:
    """Take the first steps of the round that is due, then do nothing more, as after kill -9."""
    await node.load()
    vm = node.tools.view.vm(node.uid)
    assert vm is not None
    observed = await observe(node.tools, vm)
    desired = desired_of(vm, observed)
    work = Round.of_vm(vm, desired, observed, node.tools, node.reconciler.report)
    for step in plan(desired, observed, node.now).steps[:number]:
        await act(step, work)


@pytest.mark.parametrize("number", range(len(steps_of_a_start()) + 1))
async def test_killed_before_any_step_of_a_start_it_continues(node: AgentWorld, number: int) -> None:
    await killed_before(node, number)
    await node.restart()
    await node.settle(rounds=3)
    assert node.status["phase"] == "Running"
    assert node.status["admittedClaim"] == "claim-1"
    starts = [call for call in node.hypervisor.calls if call.method == "start"]
    assert len(starts) == 1, "a guest that runs is not started again"


@pytest.mark.parametrize("number", range(len(steps_of_a_removal()) + 1))
async def test_killed_before_any_step_of_a_removal_it_continues(node: AgentWorld, number: int) -> None:
    await node.reconcile()
    node.hypervisor.ignores_shutdown.add(node.uid)
    delete(node)
    node.now += timedelta(minutes=1)
    await killed_before(node, number)
    await node.restart()
    await node.settle(rounds=3)
    assert await node.traces() == NOTHING
    assert node.status["releasedClaim"] == "claim-1"


def test_every_step_has_an_action() -> None:
    def below(kind: type[plans.Step]) -> set[type[plans.Step]]:
        return {kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))}

    assert below(plans.Step) - {plans.Step} == set(ACTIONS)


async def test_a_failing_plugin_stands_on_the_object_and_is_tried_again_later(node: AgentWorld) -> None:
    node.attachments.faults.append(PluginNotFound("nope", []))
    wait = await node.reconcile()
    assert condition(node, "NetworkReady")["reason"] == "PluginNotFound"
    assert wait is not None
    attempts = len(node.attachments.calls)
    assert await node.reconcile() == pytest.approx(wait)
    assert len(node.attachments.calls) == attempts, "the report's own echo is no reason to try again"
    node.now += timedelta(seconds=wait)
    await node.reconcile()
    assert node.status["phase"] == "Running"


async def test_a_start_that_fails_says_why(node: AgentWorld) -> None:
    node.hypervisor.fail("start", OperationFailed("could not get memory"))
    await node.reconcile()
    assert condition(node, "Ready")["reason"] == "OperationFailed"
    assert "memory" in condition(node, "Ready")["message"]


@pytest.mark.parametrize("error", [Unavailable(503, "", "down"), Forbidden(403, "", "no"), Gone(410, "", "old")])
async def test_nothing_is_destroyed_while_the_api_server_gives_no_answer(node: AgentWorld, error: Exception) -> None:
    await node.reconcile()
    before = await node.traces()
    node.tools.view.forget(VIRTUAL_MACHINE, node.vm or {})
    node.api.fail(error, verb="get")
    with pytest.raises(type(error)):
        await node.reconciler.reconcile(node.owner)
    assert await node.traces() == before


async def test_a_vm_that_left_the_watch_but_is_still_bound_here_is_left_alone(node: AgentWorld) -> None:
    await node.reconcile()
    before = await node.traces()
    node.tools.view.forget(VIRTUAL_MACHINE, node.vm or {})
    assert await node.reconciler.reconcile(node.owner) is not None
    assert await node.traces() == before


@pytest.mark.parametrize("fate", ["gone", "another UID", "bound elsewhere"])
async def test_what_the_api_server_itself_says_is_not_ours_is_taken_down(node: AgentWorld, fate: str) -> None:
    await node.reconcile()
    body = node.vm
    assert body is not None
    node.tools.view.forget(VIRTUAL_MACHINE, body)
    if fate == "gone":
        node.api.remove(VIRTUAL_MACHINE, "web", "default")
    elif fate == "another UID":
        node.api.remove(VIRTUAL_MACHINE, "web", "default")
        node.api.add(VIRTUAL_MACHINE, vm_body("11111111-2222-4333-8444-555555555555"))
    else:
        body["status"]["nodeName"] = "node-2"
        node.api.add(VIRTUAL_MACHINE, body)
    await node.reconciler.reconcile(node.owner)
    assert await node.traces() == NOTHING


async def test_an_empty_list_makes_nobody_remains_unless_it_is_complete(node: AgentWorld) -> None:
    await node.reconcile()
    assert await find_remains(node.tools) == frozenset()
    node.api.fail(Unavailable(0, "", "the answer was cut off"), verb="list")
    with pytest.raises(Unavailable):
        await find_remains(node.tools)
    node.api.remove(VIRTUAL_MACHINE, "web", "default")
    assert await find_remains(node.tools) == frozenset({node.owner})


async def test_remains_of_which_only_the_uid_is_known_are_taken_down(node: AgentWorld) -> None:
    stranger = "99999999-2222-4333-8444-555555555555"
    await node.load()
    await node.tools.disks.ensure_disk(vm_uid=stranger, disk_name="root", pool_name="default", size=1024**2)
    assert await find_remains(node.tools) == frozenset({Owner("", "", stranger)})
    await node.reconciler.reconcile(Owner("", "", stranger))
    assert await node.traces() == NOTHING


async def test_a_delete_interrupts_a_download(node: AgentWorld) -> None:
    body = vm_body(node.uid, disks=[{"name": "root", "size": "64Mi", "imageRef": {"name": "endless"}}])
    node.add(VIRTUAL_MACHINE, body)
    asked, left = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()  # until the agent hangs up
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with server:
        await _serve_endless(node, server.sockets[0].getsockname()[1])
        round_ = asyncio.create_task(node.reconcile())
        await asked.wait()
        delete(node)
        await node.load()
        node.reconciler.outdated(node.owner)
        assert await asyncio.wait_for(round_, 5) == 0
        await node.settle(rounds=2)
        await asyncio.wait_for(left.wait(), 5)
    assert node.status["releasedClaim"] == "claim-1"
    assert await node.traces() == NOTHING


async def _serve_endless(node: AgentWorld, port: int) -> None:
    images = ImageCache(
        node.directory / "images",
        destinations=DestinationPolicy.of(allowed_cidrs=["127.0.0.0/8"]),
        clock=node.clock,
    )
    await images.start()
    node.tools = replace(node.tools, images=images)
    node.reconciler = node.new_reconciler()
    source = {"http": {"url": f"http://127.0.0.1:{port}/endless"}}
    body = {
        "metadata": {"name": "endless", "namespace": "default", "uid": "i"},
        "spec": {"source": source, "checksum": "sha256:" + "ab" * 32},
    }
    node.tools.view.put(VIRTUAL_MACHINE_IMAGE, body)


async def test_a_paused_vm_is_suspended_and_resumed(node: AgentWorld) -> None:
    await node.reconcile()
    for paused, phase in ((True, "Paused"), (False, "Running")):
        body = node.vm
        assert body is not None
        body["spec"]["paused"] = paused
        node.api.add(VIRTUAL_MACHINE, body)
        await node.reconcile()
        assert node.status["phase"] == phase


async def test_a_guest_that_crashed_is_started_again_and_counted(node: AgentWorld) -> None:
    await node.reconcile()
    node.hypervisor.crash(node.uid)
    await node.settle(rounds=3)
    assert node.status["phase"] == "Running"
    assert node.status["restartCount"] == 1


async def test_a_vm_is_not_started_on_a_binding_that_has_changed_meanwhile(node: AgentWorld) -> None:
    await node.load()
    body = node.vm
    assert body is not None
    body["status"]["nodeName"] = "node-2"
    body["status"]["admittedClaim"] = "claim-1"
    node.api.add(VIRTUAL_MACHINE, body)
    await node.reconciler.reconcile(node.owner)
    assert "start" not in node.hypervisor.methods()


async def test_an_edited_spec_gets_no_more_at_its_next_start_than_was_claimed(node: AgentWorld) -> None:
    await node.reconcile()
    body = node.vm
    assert body is not None
    body["spec"]["memory"] = {"size": "900Gi"}
    body["metadata"]["generation"] = 2
    node.api.add(VIRTUAL_MACHINE, body)
    node.hypervisor.crash(node.uid)
    await node.settle(rounds=3)
    assert condition(node, "Ready")["reason"] == "ClaimRefused"
    assert "1Gi are claimed" in condition(node, "Ready")["message"]
    assert (node.status["phase"], node.status["stoppedClaim"]) == ("Stopped", "claim-1")
    assert node.hypervisor.methods().count("start") == 1


async def test_a_claim_that_is_too_small_for_the_spec_by_now_is_refused(node: AgentWorld) -> None:
    body = vm_body(node.uid, memory={"size": "900Gi"})
    node.add(VIRTUAL_MACHINE, body)
    await node.reconcile()
    assert node.status["refusedClaim"] == "claim-1"
    assert "SpecExceedsClaim" in condition(node, "Ready")["message"]
    assert await node.traces() == NOTHING


async def test_a_network_that_closes_to_the_namespace_lets_nobody_start_on_it(node: AgentWorld) -> None:
    body = node.api.peek(VIRTUAL_NETWORK, "default")
    assert body is not None
    body["spec"]["allowedNamespaces"] = ["others"]
    node.add(VIRTUAL_NETWORK, body)
    await node.reconcile()
    assert node.status["refusedClaim"] == "claim-1"
    assert "no longer allows" in condition(node, "Ready")["message"]
