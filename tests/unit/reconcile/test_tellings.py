"""What a VM's Events tell of its life."""

from typing import Any

import pytest

from berth_agent.reconcile.plan.situations import Failure
from berth_agent.reconcile.plan.steps import AttachInterface, CreateDisk
from berth_agent.reconcile.plan.tellings import Telling, events_of
from berth_api.virtualmachines import VirtualMachine

T1, T2, T3 = (f"2026-01-01T00:0{minute}:00Z" for minute in (1, 2, 3))


def vm(**status: Any) -> VirtualMachine:
    return VirtualMachine.from_api({"metadata": {"name": "web"}, "spec": {"className": "small"}, "status": status})


def condition(type_: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": T1}


def told(before: VirtualMachine, failure: Failure | None = None, **after: Any) -> list[tuple[str, str]]:
    return [(each.type, each.reason) for each in events_of(before, after, failure)]


RUNNING = {"phase": "Running", "startedAt": T1, "conditions": [condition("Ready", "True", "GuestRunning")]}
ENDED = {"phase": "Stopped", "startedAt": T1, "endedAt": T2}


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        ({"phase": "Starting"}, RUNNING, [("Normal", "Started")]),
        (RUNNING, RUNNING, []),
        (RUNNING, {**ENDED, "endReason": "PoweredOff"}, [("Normal", "Stopped")]),
        (RUNNING, {**ENDED, "endReason": "Stopped"}, [("Normal", "Stopped")]),
        (RUNNING, {**ENDED, "endReason": "Crashed"}, [("Warning", "Stopped")]),
        (RUNNING, {**ENDED, "endReason": "ProbeFailed"}, [("Warning", "Stopped")]),
        (RUNNING, {**ENDED, "endReason": "NodeRebooted"}, [("Warning", "Stopped")]),
        (RUNNING, {**ENDED, "endReason": "Unknown"}, [("Warning", "Stopped")]),
        (RUNNING, {"phase": "Stopped"}, [("Normal", "Stopped")]),
        ({**ENDED, "endReason": "Crashed"}, {"phase": "Stopped"}, []),
        (RUNNING, {**RUNNING, "phase": "Stopping"}, [("Normal", "Killing")]),
        ({**RUNNING, "phase": "Stopping"}, {**RUNNING, "phase": "Stopping"}, []),
        (RUNNING, {**RUNNING, "phase": "Terminating"}, [("Normal", "Terminating")]),
        ({**ENDED, "restartCount": 1}, {**RUNNING, "startedAt": T3, "restartCount": 2}, [("Normal", "Restarted")]),
    ],
)
def test_what_happens_to_a_guest_is_told_once(
    before: dict[str, Any], after: dict[str, Any], events: list[tuple[str, str]]
) -> None:
    assert told(vm(**before), **after) == events


def test_a_restart_says_whose_wish_it_was() -> None:
    asked = {**RUNNING, "startedAt": T2, "restartCount": 1, "restartedAt": T2}
    assert "as restartedAt asked" in events_of(vm(**RUNNING), asked)[0].note
    again = {**RUNNING, "startedAt": T3, "restartCount": 1}
    assert "Crashed" in events_of(vm(**ENDED, endReason="Crashed"), again)[0].note
    rebooted = events_of(vm(**RUNNING, nodeBootID="one"), {**again, "nodeBootID": "two"})
    assert "rebooted" in rebooted[0].note


def test_a_guest_that_crashed_and_runs_again_in_one_round_is_told_in_that_order() -> None:
    after = {**RUNNING, "startedAt": T3, "restartCount": 1, "endedAt": T2, "endReason": "Crashed"}
    assert told(vm(**RUNNING), **after) == [("Warning", "Stopped"), ("Normal", "Restarted")]


def test_each_attempt_of_a_crash_loop_is_told_and_says_when_the_next_is() -> None:
    message = "restarting after the guest ended: Crashed, next attempt in 40 s"
    waiting = {
        "phase": "CrashLoopBackOff",
        "failureCount": 2,
        "endReason": "Crashed",
        "conditions": [condition("Ready", "False", "CrashLoopBackOff", message)],
    }
    assert events_of(vm(**RUNNING), waiting) == (Telling("Warning", "BackOff", message),)
    assert told(vm(**waiting), **waiting) == []
    assert told(vm(**waiting), **{**waiting, "failureCount": 3}) == [("Warning", "BackOff")]


def test_a_crash_loop_without_words_names_how_the_guest_ended() -> None:
    (one,) = events_of(vm(**RUNNING), {"phase": "CrashLoopBackOff", "endReason": "Crashed"})
    assert one.note == "restarting after the guest ended: Crashed"


def test_pausing_and_resuming_are_told_and_whether_somebody_wished_it() -> None:
    by_user = {**RUNNING, "phase": "Paused", "conditions": [condition("Paused", "True", "PausedByUser")]}
    by_node = {**RUNNING, "phase": "Paused", "conditions": [condition("Paused", "True", "PausedOnNode")]}
    assert told(vm(**RUNNING), **by_user) == [("Normal", "Paused")]
    assert told(vm(**RUNNING), **by_node) == [("Warning", "Paused")]
    assert told(vm(**by_user), **RUNNING) == [("Normal", "Resumed")]
    assert told(vm(**by_user), **{**ENDED, "endReason": "Stopped"}) == [("Normal", "Stopped")], "it did not go on"


@pytest.mark.parametrize("reason", ["LivenessProbeFailed", "ReadinessProbeFailed", "Unhealthy"])
def test_a_probe_that_fails_is_told_with_what_it_met(reason: str) -> None:
    after = {**RUNNING, "conditions": [condition("Ready", "False", reason, "port 80: connection refused")]}
    assert events_of(vm(**RUNNING), after) == (Telling("Warning", "Unhealthy", "port 80: connection refused"),)
    assert told(vm(**after), **after) == []


def test_a_guest_that_somebody_started_on_room_of_others_is_told_of() -> None:
    after = {**RUNNING, "phase": "Stopping", "conditions": [condition("Ready", "False", "NotClaimed", "by hand")]}
    assert ("Warning", "NotClaimed") in told(vm(**RUNNING), **after)
    assert told(vm(**after), **after) == []


def test_a_refused_claim_is_told_with_its_reason_each_time_it_is_another() -> None:
    def refused(message: str) -> dict[str, Any]:
        return {"phase": "Stopped", "conditions": [condition("Ready", "False", "ClaimRefused", message)]}

    before, short = vm(phase="Scheduled"), refused("InsufficientMemory: short of 1Gi")
    assert events_of(before, short) == (Telling("Warning", "ClaimRefused", "InsufficientMemory: short of 1Gi"),)
    assert told(vm(**short), **short) == []
    assert told(vm(**short), **refused("InsufficientCPU: short of 1 CPU")) == [("Warning", "ClaimRefused")]


def test_a_change_that_needs_a_restart_is_told_with_what_differs() -> None:
    def required(message: str) -> dict[str, Any]:
        return {**RUNNING, "conditions": [condition("RestartRequired", "True", "SpecChanged", message)]}

    assert events_of(vm(**RUNNING), required("cpu")) == (Telling("Normal", "RestartRequired", "cpu"),)
    assert told(vm(**required("cpu")), **required("cpu")) == []
    assert told(vm(**required("cpu")), **required("cpu, disks")) == [("Normal", "RestartRequired")]


def test_a_failed_step_is_named_with_its_reason_and_hostile_text_stays_on_one_line() -> None:
    failure = Failure(CreateDisk("root"), "ImageNotFound", "404\r\nSet-Cookie: \x1b[31mx\u202e", retryable=True)
    (one,) = events_of(vm(phase="Starting"), {"phase": "Starting"}, failure)
    assert (one.type, one.reason) == ("Warning", "FailedCreateDisk")
    assert one.note == "ImageNotFound: 404 Set-Cookie: [31mx"


@pytest.mark.parametrize("reason", ["ObjectChanged", "HypervisorUnavailable"])
def test_what_is_the_nodes_trouble_is_not_told_for_each_of_its_vms(reason: str) -> None:
    failure = Failure(AttachInterface("lan"), reason, "x", retryable=True)
    assert told(vm(), failure, phase="Starting") == []
