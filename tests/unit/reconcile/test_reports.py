"""The status says what is true, in the field's words, and says nothing new when nothing is new."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from berth_agent.reconcile.plan.desired import desired_of
from berth_agent.reconcile.plan.differences import Hardware
from berth_agent.reconcile.plan.histories import brought_up
from berth_agent.reconcile.plan.observed import Observed, ObservedDisk, ObservedInterface, Power
from berth_agent.reconcile.plan.reports import agents_part, status_of
from berth_agent.reconcile.plan.situations import Answers, Failure, Situation
from berth_agent.reconcile.plan.steps import AttachInterface, CreateDisk, Step
from berth_api.virtualmachines import VirtualMachine

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
NIC = ObservedInterface("default", True, "default", "bt1", "berth-1", "52:54:00:00:00:01", ("10.1.1.5/24",))
RUNNING = Observed(
    power=Power.RUNNING,
    domain_uuid="11111111-1111-4111-8111-111111111111",
    machine_type="pc-q35-7.2",
    interfaces={"default": NIC},
    disks={"root": ObservedDisk("root", "/p/root", 64 * 1024**2, "sha256:ab")},
    has_seed=True,
)
ADMITTED = Answers(admitted="c1")


def vm(status: dict[str, Any] | None = None, **spec: Any) -> VirtualMachine:
    claim = {"id": "c1", "epoch": 1, "cpu": "1", "memory": "1Gi", "storage": "1Gi"}
    return VirtualMachine.from_api(
        {
            "metadata": {"name": "web", "namespace": "default", "uid": "u1", "generation": 4},
            "spec": {"className": "small", "disks": [{"name": "root", "size": "64Mi"}], **spec},
            "status": {"nodeName": "n1", "claim": claim, **(status or {})},
        }
    )


def report(
    machine: VirtualMachine, observed: Observed, answers: Answers = ADMITTED, failure: Failure | None = None
) -> dict[str, Any]:
    lived = brought_up(machine, observed, NOW)
    desired = desired_of(lived, observed, Hardware(0, 0))
    return status_of(Situation(machine, desired, observed, answers, failure), NOW)


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(c for c in status["conditions"] if c["type"] == kind)


def test_a_running_guest_is_ready_with_its_address_and_disk() -> None:
    status = report(vm(), RUNNING)
    assert status["phase"] == "Running"
    assert status["interfaces"][0]["ipAddresses"] == ["10.1.1.5"]
    assert status["disks"] == [
        {"name": "root", "target": "", "capacity": "64Mi", "source": "/p/root", "digest": "sha256:ab"}
    ]
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "DisksReady": "True",
        "NetworkReady": "True",
        "Ready": "True",
    }
    assert status["observedGeneration"] == 4
    assert datetime.fromisoformat(status["startedAt"]) == NOW


def test_an_unchanged_vm_has_nothing_new_to_say() -> None:
    first = report(vm(), RUNNING)
    known = vm(first)
    same = desired_of(known, RUNNING, Hardware(0, 0))
    assert status_of(Situation(known, same, RUNNING, ADMITTED), LATER) == agents_part(known)


def test_a_conditions_time_moves_only_with_its_status() -> None:
    failing = report(vm(), Observed(), failure=Failure(CreateDisk("root"), "DownloadFailed", "refused", True))
    known = vm(failing)
    again = status_of(
        Situation(
            known, desired_of(known, Observed()), Observed(), ADMITTED, Failure(CreateDisk("root"), "X", "other", True)
        ),
        LATER,
    )
    assert condition(again, "DisksReady")["reason"] == "X"
    assert (
        condition(again, "DisksReady")["lastTransitionTime"] == condition(failing, "DisksReady")["lastTransitionTime"]
    )


@pytest.mark.parametrize(
    ("step", "kind"), [(CreateDisk("root"), "DisksReady"), (AttachInterface("default"), "NetworkReady")]
)
def test_a_failure_stands_on_the_condition_it_belongs_to_and_on_ready(step: Step, kind: str) -> None:
    status = report(vm(), Observed(), failure=Failure(step, "SomethingWrong", "mend it", False))
    assert condition(status, kind)["reason"] == "SomethingWrong"
    assert "mend it" in condition(status, kind)["message"]
    assert condition(status, "Ready") | {"lastTransitionTime": ""} == {
        "type": "Ready",
        "status": "False",
        "reason": "SomethingWrong",
        "message": "mend it",
        "lastTransitionTime": "",
        "observedGeneration": 4,
    }
    assert status["phase"] == "Failed"


def test_a_retryable_failure_leaves_the_vm_starting() -> None:
    failure = Failure(CreateDisk("root"), "DownloadStalled", "no bytes", True)
    assert report(vm(), Observed(), failure=failure)["phase"] == "Starting"


def test_a_hostile_message_cannot_bloat_the_object() -> None:
    failure = Failure(CreateDisk("root"), "DownloadFailed", "x" * 10**6, True)
    assert len(condition(report(vm(), Observed(), failure=failure), "DisksReady")["message"]) == 2048


def test_a_refused_claim_is_answered_by_its_id() -> None:
    status = report(vm(), Observed(), Answers(refused="c1", refusal="InsufficientMemory: short of 1Gi"))
    assert status["refusedClaim"] == "c1"
    assert "admittedClaim" not in status
    assert condition(status, "Ready")["reason"] == "ClaimRefused"


def test_a_second_start_counts_as_a_restart() -> None:
    known = vm(report(vm(), RUNNING))
    seen = replace(RUNNING, started_at=LATER)
    again = status_of(Situation(known, desired_of(known, seen), seen, ADMITTED), LATER)
    assert again["restartCount"] == 1
    assert datetime.fromisoformat(again["startedAt"]) == LATER


def test_a_guest_that_fails_its_readiness_probe_runs_and_is_not_ready() -> None:
    status = report(vm(), replace(RUNNING, ready=False, unhealthy="port 80: refused"))
    assert status["phase"] == "Running"
    assert condition(status, "Ready")["reason"] == "ReadinessProbeFailed"
    assert condition(status, "Ready")["message"] == "port 80: refused"


def test_what_only_a_restart_brings_in_is_named() -> None:
    seen = replace(RUNNING, vcpus=1, max_vcpus=1, parts={"networks": "a", "disks": "d"})
    wanted = Hardware(2, 0, {"networks": "b", "disks": "d"})
    status = status_of(Situation(vm(), desired_of(vm(), seen, wanted), seen, ADMITTED), NOW)
    assert condition(status, "RestartRequired")["status"] == "True"
    assert "CPUs 1 to 2, networks" in condition(status, "RestartRequired")["message"]
    same = status_of(Situation(vm(), desired_of(vm(), seen, replace(wanted, cpus=1, parts={})), seen, ADMITTED), NOW)
    assert "RestartRequired" in {c["type"] for c in same["conditions"]}, "a part that left the spec differs, too"
    fits = Hardware(1, 0, {"networks": "a", "disks": "d"})
    done = status_of(Situation(vm(), desired_of(vm(), seen, fits), seen, ADMITTED), NOW)
    assert "RestartRequired" not in {c["type"] for c in done["conditions"]}


def test_a_nic_that_the_running_guest_was_started_without_is_no_broken_network() -> None:
    machine = vm(networks=[{"name": "default", "networkName": "default"}, {"name": "new", "networkName": "other"}])
    assert condition(report(machine, RUNNING), "NetworkReady")["status"] == "True"


def test_a_vm_that_waits_for_its_next_start_says_so_and_says_nothing_new_while_it_waits() -> None:
    seen = replace(RUNNING, power=Power.OFF, reason="Crashed")
    started = vm({"startedAt": "2025-12-31T23:59:50Z", "failureCount": 1})
    first = status_of(_waiting(started, seen, NOW), NOW)
    assert (first["phase"], first["endReason"], first["failureCount"]) == ("CrashLoopBackOff", "Crashed", 2)
    assert condition(first, "Ready")["reason"] == "CrashLoopBackOff"
    later = NOW + timedelta(seconds=5)
    known = vm(first)
    assert status_of(_waiting(known, seen, later), later) == agents_part(known)


def _waiting(machine: VirtualMachine, seen: Observed, now: datetime) -> Situation:
    desired = desired_of(brought_up(machine, seen, now), seen)
    assert desired.start_at is not None
    assert desired.start_at > now
    return Situation(machine, desired, seen, ADMITTED, waits=True)


def test_the_status_speaks_of_the_generation_that_was_looked_at() -> None:
    seen = Situation(vm(), desired_of(vm(), RUNNING, Hardware(0, 0)), RUNNING, ADMITTED, generation=3)
    status = status_of(seen, NOW)
    assert status["observedGeneration"] == 3
    assert {c["observedGeneration"] for c in status["conditions"]} == {3}


def test_without_its_class_nobody_says_that_a_guest_is_as_its_spec_asks() -> None:
    status = status_of(Situation(vm(), desired_of(vm(), RUNNING), RUNNING, ADMITTED), NOW)
    assert condition(status, "RestartRequired")["status"] == "Unknown"


def test_a_stopped_vm_gives_its_cpu_and_memory_back() -> None:
    machine = vm({"startedAt": "2025-12-31T23:00:00Z", "restartCount": 3}, runStrategy="Halted")
    status = report(machine, replace(RUNNING, power=Power.OFF), Answers(admitted="c1", stopped="c1"))
    assert (status["phase"], status["stoppedClaim"]) == ("Stopped", "c1")
    assert "startedAt" not in status
    assert "restartCount" not in status


def test_a_guest_that_runs_on_room_that_was_given_back_does_not_take_it_again() -> None:
    status = report(vm({"stoppedClaim": "c1"}), RUNNING, Answers(admitted="c1", stopped="c1"))
    assert (status["phase"], status["stoppedClaim"]) == ("Stopping", "c1")
    (ready,) = (c for c in status["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NotClaimed")
