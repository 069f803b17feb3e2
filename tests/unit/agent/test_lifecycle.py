"""A VM's guests on one node: ended, restarted, halted, resized; what the agent says and what it gives back."""

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.agent.conftest import AgentWorld, vm_body

from berth_agent.hypervisor.errors import OperationFailed
from berth_agent.hypervisor.states import DomainEventKind
from berth_agent.reconcile.plan.admission import Refusal
from berth_agent.reconcile.plan.crashloops import pause
from berth_api.hypervisors import HypervisorSpec
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.virtualmachines import Claim


def condition(node: AgentWorld, kind: str) -> dict[str, Any]:
    return next(c for c in node.status["conditions"] if c["type"] == kind)


def _claim(claim_id: str) -> dict[str, Any]:
    claim: dict[str, Any] = vm_body("u")["status"]["claim"]
    return claim | {"id": claim_id}


def _admit(node: AgentWorld, uid: str, claim: Claim) -> Refusal | None:
    """Let another VM ask for room."""
    return node.tools.admissions.admit(uid, claim, node.tools.facts.room, HypervisorSpec(), current_epoch=0)


async def test_a_guest_that_powers_off_at_once_is_started_again_only_after_a_pause(node: AgentWorld) -> None:
    await node.reconcile()
    node.hypervisor.crash(node.uid, "Shutdown")
    node.now += timedelta(seconds=1)
    wait = await node.reconcile()
    assert wait == pytest.approx(pause(node.uid, 1).total_seconds())
    assert node.hypervisor.methods().count("start") == 1
    assert (node.status["phase"], node.status["endReason"]) == ("CrashLoopBackOff", "PoweredOff")
    node.now += timedelta(seconds=10)
    await node.reconcile()
    assert node.hypervisor.methods().count("start") == 2
    assert (node.status["restartCount"], node.status["failureCount"]) == (1, 1)
    assert "endReason" not in node.status


async def test_a_clock_that_was_set_back_does_not_keep_a_guest_off(node: AgentWorld) -> None:
    await node.reconcile()
    node.hypervisor.crash(node.uid)
    await node.reconcile()
    node.now -= timedelta(days=1)
    await node.settle(rounds=3)
    assert node.status["phase"] == "Running"


async def test_a_pause_outlives_the_agent(node: AgentWorld) -> None:
    await node.reconcile()
    node.hypervisor.crash(node.uid)
    await node.reconcile()
    await node.restart()
    assert await node.reconcile() == pytest.approx(pause(node.uid, 1).total_seconds())
    assert node.status["phase"] == "CrashLoopBackOff"


async def test_a_guest_that_ended_before_its_start_was_reported_is_not_started_again_under_once(
    node: AgentWorld,
) -> None:
    node.add(VIRTUAL_MACHINE, vm_body(node.uid, runStrategy="Once"))
    await node.reconcile()
    body = node.vm
    assert body is not None
    body["status"] = {name: body["status"][name] for name in ("nodeName", "claim", "admittedClaim")}
    node.api.add(VIRTUAL_MACHINE, body)
    node.hypervisor.crash(node.uid, "Shutdown")
    await node.restart()
    await node.settle(rounds=3)
    assert node.hypervisor.methods().count("start") == 1
    assert (node.status["phase"], node.status["endReason"]) == ("Stopped", "PoweredOff")


async def test_a_guest_that_follows_a_stop_which_was_taken_back_is_started_again(node: AgentWorld) -> None:
    node.add(VIRTUAL_MACHINE, vm_body(node.uid, runStrategy="RerunOnFailure"))
    await node.reconcile()
    node.hypervisor.ignores_shutdown.add(node.uid)
    await halt(node)
    await node.reconcile()
    await halt(node, "RerunOnFailure")
    await node.reconcile()
    assert node.status["phase"] == "Running"
    node.hypervisor.crash(node.uid, "Shutdown")
    node.now += timedelta(seconds=20)
    await node.reconcile()
    assert node.status["phase"] == "Running"
    assert node.hypervisor.methods().count("start") == 2
    assert "failureCount" not in node.status


async def test_a_guest_that_was_started_by_hand_on_room_that_was_given_back_is_stopped(node: AgentWorld) -> None:
    await node.reconcile()
    await halt(node)
    await node.settle(rounds=2)
    await node.hypervisor.start(node.uid)
    node.hypervisor.ignores_shutdown.add(node.uid)
    await node.reconcile()
    assert (node.status["phase"], node.status["stoppedClaim"]) == ("Stopping", "claim-1")
    assert condition(node, "Ready")["reason"] == "NotClaimed"
    await halt(node, "Always")
    node.hypervisor.ignores_shutdown.clear()
    await node.settle(rounds=2)
    assert (node.status["phase"], node.status["stoppedClaim"]) == ("Stopped", "claim-1")
    assert "startedAt" not in node.status, "it is no start of ours"
    await claim_anew(node, "claim-2")
    await node.reconcile()
    assert node.status["phase"] == "Running"


async def test_a_guest_that_was_started_by_hand_has_its_next_claim_refused_where_there_is_no_room(
    node: AgentWorld,
) -> None:
    await node.reconcile()
    await halt(node)
    await node.settle(rounds=2)
    await halt(node, "Always")
    await claim_anew(node, "claim-2", memory="64Gi")
    await node.hypervisor.start(node.uid)
    await node.settle(rounds=3)
    assert (node.status["phase"], node.status["stoppedClaim"]) == ("Stopped", "claim-2")
    assert not (await node.hypervisor.domains())[0].power.is_active


async def claim_anew(node: AgentWorld, claim_id: str, **changes: Any) -> None:
    """As the operator does for a VM that stays on its node."""
    body = node.vm
    assert body is not None
    body["status"]["claim"] |= {"id": claim_id, **changes}
    node.api.add(VIRTUAL_MACHINE, body)


async def test_a_larger_claim_of_a_guest_that_runs_is_admitted_where_there_is_room(node: AgentWorld) -> None:
    await node.reconcile()
    await claim_anew(node, "claim-2", memory="2Gi")
    await node.reconcile()
    assert node.status["admittedClaim"] == "claim-2"
    assert node.status["phase"] == "Running"
    assert node.hypervisor.methods().count("start") == 1


async def test_a_guest_that_runs_keeps_what_it_has_where_there_is_no_room_for_more(node: AgentWorld) -> None:
    await node.reconcile()
    await claim_anew(node, "claim-2", memory="64Gi")
    assert await node.reconcile() == 60
    assert node.status["admittedClaim"] == "claim-1"
    assert node.status["phase"] == "Running"
    assert "refusedClaim" not in node.status
    written = len(node.api.writes)
    await node.reconcile()
    assert len(node.api.writes) == written, "what was said once is not said again"
    await claim_anew(node, "claim-3", memory="1Gi")
    await node.reconcile()
    assert node.status["admittedClaim"] == "claim-3"


async def test_a_guest_that_runs_on_a_claim_nobody_remembers_keeps_its_room(node: AgentWorld) -> None:
    """A refusal would let another node start it."""
    await node.reconcile()
    await claim_anew(node, "claim-2", memory="64Gi")
    body = node.vm
    assert body is not None
    del body["status"]["admittedClaim"]
    node.api.add(VIRTUAL_MACHINE, body)
    await node.restart()
    await node.reconcile()
    assert node.status["admittedClaim"] == "claim-2"


async def test_a_larger_claim_that_was_not_answered_is_not_taken_for_admitted_by_the_next_agent(
    node: AgentWorld,
) -> None:
    await node.reconcile()
    await claim_anew(node, "claim-2", memory="64Gi")
    await node.restart()
    assert await node.reconcile() == 60
    assert node.status["admittedClaim"] == "claim-1"
    assert _admit(node, "other", Claim.model_validate({**_claim("other"), "memory": "1Gi"})) is not None


async def test_what_was_not_admitted_is_not_plugged_in(node: AgentWorld) -> None:
    await node.reconcile()
    cpu = {"sockets": 2, "maxSockets": 4}
    await halt(node, "Always", cpu=cpu)
    await claim_anew(node, "claim-2", cpu="2", memory="64Gi")
    await node.settle(rounds=3)
    assert "set_vcpus" not in node.hypervisor.methods()
    assert node.status["admittedClaim"] == "claim-1"


async def test_a_restart_waits_for_the_admission_of_the_claim_that_it_needs(node: AgentWorld) -> None:
    await node.reconcile()
    node.now += timedelta(minutes=1)
    await halt(node, "Always", restartedAt="2026-01-01T00:00:30Z", memory={"size": "60Gi"})
    await claim_anew(node, "claim-2", memory="64Gi")
    await node.settle(rounds=3)
    assert "shutdown" not in node.hypervisor.methods()
    assert node.status["phase"] == "Running"


async def halt(node: AgentWorld, strategy: str = "Halted", **spec: Any) -> None:
    body = node.vm
    assert body is not None
    body["spec"] |= {"runStrategy": strategy, **spec}
    body["metadata"]["generation"] += 1
    node.api.add(VIRTUAL_MACHINE, body)


async def test_a_halted_vm_gives_its_cpu_and_memory_to_others_and_asks_for_them_again(node: AgentWorld) -> None:
    await node.reconcile()
    await halt(node)
    await node.settle(rounds=2)
    assert (node.status["phase"], node.status["stoppedClaim"]) == ("Stopped", "claim-1")
    everything = Claim.model_validate({**_claim("other"), "memory": "15Gi"})
    assert _admit(node, "other", everything) is None

    await halt(node, "Always")
    await node.reconcile()
    assert node.status["phase"] == "Stopped", "it starts only under a new claim"
    assert node.hypervisor.methods().count("start") == 1

    await claim_anew(node, "claim-2")
    await node.reconcile()
    assert (node.status["phase"], node.status["stoppedClaim"]) == ("Stopped", "claim-2")
    assert condition(node, "Ready")["reason"] == "ClaimRefused"
    assert "short of" in condition(node, "Ready")["message"]
    assert "refusedClaim" not in node.status, "its disks are here"
    await node.reconcile()
    assert condition(node, "Ready")["reason"] == "ClaimRefused", "the reason stays until there is another"

    node.tools.admissions.release("other")
    await claim_anew(node, "claim-3")
    await node.reconcile()
    assert node.status["phase"] == "Running"
    assert "stoppedClaim" not in node.status


async def test_a_stopped_vms_cpu_and_memory_stay_free_after_the_agent_was_started_anew(node: AgentWorld) -> None:
    await node.reconcile()
    await halt(node)
    await node.settle(rounds=2)
    await node.restart()
    assert _admit(node, "other", Claim.model_validate({**_claim("other"), "memory": "15Gi"})) is None


async def test_a_restart_that_was_asked_for_happens_once(node: AgentWorld) -> None:
    await node.reconcile()
    node.now += timedelta(minutes=1)
    await halt(node, "Always", restartedAt="2026-01-01T00:00:30Z")
    await node.settle(rounds=3)
    assert node.hypervisor.methods().count("start") == 2
    assert node.status["restartCount"] == 1
    assert node.status["restartedAt"] == "2026-01-01T00:00:30Z"
    await node.restart()
    await node.settle(rounds=2)
    assert node.hypervisor.methods().count("start") == 2


async def test_a_restart_that_the_claim_does_not_cover_waits_for_a_larger_one(node: AgentWorld) -> None:
    await node.reconcile()
    node.now += timedelta(minutes=1)
    await halt(node, "Always", restartedAt="2026-01-01T00:00:30Z", memory={"size": "2Gi"})
    await node.settle(rounds=2)
    assert "shutdown" not in node.hypervisor.methods()
    assert "memory" in condition(node, "RestartRequired")["message"]
    await claim_anew(node, "claim-2", memory="3Gi")
    await node.settle(rounds=3)
    assert node.hypervisor.methods().count("start") == 2
    assert "RestartRequired" not in {c["type"] for c in node.status["conditions"]}


async def test_a_restart_with_another_nic_gives_the_claim_back_for_one_that_fits(node: AgentWorld) -> None:
    """The operator claims NICs anew only once no guest uses them."""
    await node.reconcile()
    node.now += timedelta(minutes=1)
    nic = {"name": "lan", "networkName": "default", "macAddress": "52:54:00:00:00:99"}
    await halt(node, "Always", restartedAt="2026-01-01T00:00:30Z", networks=[nic])
    await node.settle(rounds=3)
    assert (node.status["phase"], node.status["stoppedClaim"]) == ("Stopped", "claim-1")
    assert node.status["endReason"] == "Stopped"
    assert "lan" in condition(node, "Ready")["message"]
    claimed = {"name": "lan", "networkName": "default", "macAddress": "52:54:00:00:00:99", "ipAddresses": []}
    await claim_anew(node, "claim-2", interfaces=[claimed])
    await node.settle(rounds=2)
    assert node.status["phase"] == "Running"
    assert node.hypervisor.methods().count("start") == 2


async def test_a_guest_whose_agent_answers_is_asked_by_it(node: AgentWorld) -> None:
    await node.reconcile()
    node.hypervisor.guests[node.uid] = ()
    node.hypervisor.fire(node.uid, DomainEventKind.AGENT_CONNECTED)
    await halt(node)
    await node.settle(rounds=2)
    assert node.status["phase"] == "Stopped"


async def test_a_reboot_of_the_node_is_no_failure_of_the_guest(node: AgentWorld) -> None:
    node.boot_id = "boot-1"
    await node.restart()
    await node.reconcile()
    assert node.status["nodeBootID"] == "boot-1"
    node.hypervisor.crash(node.uid, "Unknown")
    node.boot_id = "boot-2"
    node.now += timedelta(seconds=5)
    await node.restart()
    await node.reconcile()
    assert node.status["phase"] == "Running"
    assert (node.status["restartCount"], node.status["nodeBootID"]) == (1, "boot-2")
    assert "failureCount" not in node.status


async def test_a_stop_that_cannot_be_asked_for_ends_with_its_grace(node: AgentWorld) -> None:
    await node.reconcile()
    for _ in range(20):
        node.hypervisor.fail("shutdown", OperationFailed("the monitor does not answer"))
    await halt(node, terminationGracePeriodSeconds=12)
    assert (await node.reconcile() or 0) <= 12
    node.now += timedelta(seconds=12)
    await node.reconcile()
    assert "destroy" in node.hypervisor.methods()


async def test_a_guest_whose_disk_is_full_is_not_resumed_over_and_over(node: AgentWorld) -> None:
    await node.reconcile()
    node.hypervisor.stand(node.uid, "IOError")
    node.hypervisor.cannot_write.add(node.uid)
    wait = await node.reconcile()
    assert wait is not None
    assert wait >= 1
    resumed = node.hypervisor.methods().count("resume")
    await node.reconcile()
    assert node.hypervisor.methods().count("resume") == resumed
    assert condition(node, "Ready")["reason"] == "GuestDiskError"


async def test_a_claim_that_was_restored_from_another_object_starts_nothing(node: AgentWorld) -> None:
    body = node.vm
    assert body is not None
    body["status"] |= {"admittedClaim": "claim-1", "phase": "Running"}
    body["status"]["claim"]["virtualMachineUID"] = "of-the-one-that-was-backed-up"
    node.add(VIRTUAL_MACHINE, body)
    await node.reconcile()
    assert (await node.traces())["domains"] == []
    assert node.hypervisor.methods().count("start") == 0
