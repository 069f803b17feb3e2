"""The status says what is true, in the field's words, and says nothing new when nothing is new."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from berth_agent.reconcile.plan.desired import desired_of
from berth_agent.reconcile.plan.observed import Observed, ObservedDisk, ObservedInterface, Power
from berth_agent.reconcile.plan.reports import Answers, Failure, Situation, agents_part, status_of
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
    return status_of(Situation(machine, desired_of(machine, observed), observed, answers, failure), NOW)


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
    assert status_of(Situation(known, desired_of(known, RUNNING), RUNNING, ADMITTED), LATER) == agents_part(known)


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
    again = status_of(
        Situation(known, desired_of(known, RUNNING), RUNNING, Answers(admitted="c1", started=True)), LATER
    )
    assert again["restartCount"] == 1
    assert datetime.fromisoformat(again["startedAt"]) == LATER


@pytest.mark.parametrize(
    ("strategy", "failed", "phase"),
    [
        ("Always", False, "Starting"),
        ("RerunOnFailure", True, "Starting"),
        ("RerunOnFailure", False, "Stopped"),
        ("Once", True, "Stopped"),
        ("Halted", False, "Stopped"),
    ],
)
def test_whether_a_guest_that_is_off_runs_again_is_the_strategys(strategy: str, failed: bool, phase: str) -> None:
    machine = vm({"startedAt": "2026-01-01T00:00:00Z"}, runStrategy=strategy)
    assert report(machine, Observed(power=Power.OFF, failed=failed))["phase"] == phase
