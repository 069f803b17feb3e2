"""What happens when a guest ends: the table of docs/lifecycle.md, row by row, and the pauses between starts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_agent.reconcile.plan.crashloops import FIRST, JITTER, MOST, next_start, pause
from berth_agent.reconcile.plan.desired import Goal, desired_of
from berth_agent.reconcile.plan.histories import HEALTHY_AFTER, brought_up, stop_reason
from berth_agent.reconcile.plan.observed import Observed, Power
from berth_api.running import should_run
from berth_api.virtualmachines import VirtualMachine

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = NOW - timedelta(seconds=20)
LONG_AGO = NOW - timedelta(hours=2)
BOOT = "b1"
DOC = Path(__file__).parents[3] / "docs" / "lifecycle.md"


def vm(strategy: str, status: dict[str, Any] | None = None, **spec: Any) -> VirtualMachine:
    claim = {"id": "c1", "epoch": 1, "cpu": "1", "memory": "1Gi", "storage": "1Gi"}
    return VirtualMachine.from_api(
        {
            "metadata": {"name": "web", "namespace": "default", "uid": "u1", "generation": 4},
            "spec": {"className": "s", "disks": [{"name": "r", "size": "1Gi"}], "runStrategy": strategy, **spec},
            "status": {"nodeName": "n1", "claim": claim, "admittedClaim": "c1", **(status or {})},
        }
    )


def running(started: datetime = SOON) -> dict[str, Any]:
    return {"startedAt": started.isoformat(), "nodeBootID": BOOT}


ENDS: dict[str, Observed] = {
    "guest powers off": Observed(power=Power.OFF, reason="Shutdown", node_boot_id=BOOT),
    "guest panics": Observed(power=Power.OFF, reason="Crashed", node_boot_id=BOOT),
    "QEMU dies": Observed(power=Power.OFF, reason="Crashed", node_boot_id=BOOT),
    "nobody saw it end": Observed(power=Power.OFF, reason="Unknown", node_boot_id=BOOT),
    "node reboots": Observed(power=Power.OFF, reason="Unknown", node_boot_id="b2"),
}
AT_ONCE, AFTER_A_PAUSE, OFF = "starts again at once", "starts again after a pause", "stays off"
TABLE = {
    ("Always", "guest powers off"): AFTER_A_PAUSE,
    ("Always", "guest panics"): AFTER_A_PAUSE,
    ("Always", "QEMU dies"): AFTER_A_PAUSE,
    ("Always", "nobody saw it end"): AFTER_A_PAUSE,
    ("Always", "node reboots"): AT_ONCE,
    ("RerunOnFailure", "guest powers off"): OFF,
    ("RerunOnFailure", "guest panics"): AFTER_A_PAUSE,
    ("RerunOnFailure", "QEMU dies"): AFTER_A_PAUSE,
    ("RerunOnFailure", "nobody saw it end"): AFTER_A_PAUSE,
    ("RerunOnFailure", "node reboots"): AT_ONCE,
    ("Once", "guest powers off"): OFF,
    ("Once", "guest panics"): OFF,
    ("Once", "QEMU dies"): OFF,
    ("Once", "nobody saw it end"): OFF,
    ("Once", "node reboots"): OFF,
    ("Halted", "guest powers off"): OFF,
    ("Halted", "guest panics"): OFF,
    ("Halted", "QEMU dies"): OFF,
    ("Halted", "nobody saw it end"): OFF,
    ("Halted", "node reboots"): OFF,
}


def outcome(machine: VirtualMachine, observed: Observed) -> str:
    lived = brought_up(machine, observed, NOW)
    desired = desired_of(lived, observed)
    if desired.goal is Goal.STOP:
        return OFF
    assert desired.goal is Goal.RUN
    return AT_ONCE if desired.start_at is None or desired.start_at <= NOW else AFTER_A_PAUSE


@pytest.mark.parametrize(("strategy", "event"), TABLE)
def test_the_table(strategy: str, event: str) -> None:
    assert outcome(vm(strategy, running()), ENDS[event]) == TABLE[strategy, event]


def test_the_table_in_the_docs_is_this_one() -> None:
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in DOC.read_text().splitlines()]
    head = next(row for row in rows if row[0] == "the guest's end")
    found = {
        (strategy, row[0]): cell
        for row in rows
        for strategy, cell in zip(head[1:], row[1:], strict=False)
        if row[0] in ENDS
    }
    assert found == TABLE


@pytest.mark.parametrize("strategy", ["Always", "RerunOnFailure", "Once"])
def test_halted_stops_a_running_guest_and_begins_anew(strategy: str) -> None:
    guest = Observed(power=Power.RUNNING, started_at=SOON, node_boot_id=BOOT)
    halted = brought_up(vm("Halted", running()), guest, NOW)
    assert desired_of(halted, guest).goal is Goal.STOP
    ended = {**running(), "endedAt": NOW.isoformat(), "endReason": "Crashed", "failureCount": 7, "restartCount": 9}
    off = brought_up(vm("Halted", ended), ENDS["guest powers off"], NOW)
    status = off.status
    assert (status.started_at, status.ended_at, status.failure_count, status.restart_count) == (None, None, None, None)
    again = vm(strategy, {})
    assert outcome(again, ENDS["guest powers off"]) == AT_ONCE


def test_a_guest_that_was_well_for_long_is_started_again_at_once() -> None:
    machine = vm("Always", {**running(LONG_AGO), "failureCount": 5})
    assert outcome(machine, ENDS["QEMU dies"]) == AT_ONCE
    assert brought_up(machine, ENDS["QEMU dies"], NOW).status.failure_count is None


def test_failures_are_counted_and_forgotten_after_ten_minutes_of_health() -> None:
    machine = vm("Always", {**running(), "failureCount": 2})
    assert brought_up(machine, ENDS["guest panics"], NOW).status.failure_count == 3
    started = NOW - HEALTHY_AFTER
    young = Observed(power=Power.RUNNING, started_at=started + timedelta(seconds=1))
    assert brought_up(machine, young, NOW).status.failure_count == 2
    assert brought_up(machine, Observed(power=Power.RUNNING, started_at=started), NOW).status.failure_count is None


def test_an_end_is_noted_once() -> None:
    first = brought_up(vm("Always", running()), ENDS["guest panics"], NOW)
    again = brought_up(first, ENDS["guest panics"], NOW + timedelta(seconds=9))
    assert again.status == first.status


@pytest.mark.parametrize("strategy", ["Always", "RerunOnFailure", "Once"])
def test_a_new_value_of_restarted_at_restarts_once(strategy: str) -> None:
    asked = "2026-01-01T00:00:00Z"
    guest = Observed(power=Power.RUNNING, started_at=SOON)
    pending = brought_up(vm(strategy, running(), restartedAt=asked), guest, NOW)
    assert desired_of(pending, guest).goal is Goal.RESTART
    off = brought_up(pending, ENDS["guest powers off"], NOW)
    assert off.status.end_reason == "Stopped"
    assert outcome(pending, ENDS["guest powers off"]) == AT_ONCE
    fresh = Observed(power=Power.RUNNING, started_at=NOW, restarted_at=asked)
    honoured = brought_up(off, fresh, NOW)
    assert desired_of(honoured, fresh).goal is Goal.RUN
    assert honoured.status.restart_count == 1


@pytest.mark.parametrize("strategy", ["RerunOnFailure", "Once"])
def test_a_new_value_of_restarted_at_starts_a_guest_that_has_ended(strategy: str) -> None:
    ended = {**running(), "endedAt": SOON.isoformat(), "endReason": "PoweredOff"}
    assert outcome(vm(strategy, ended), ENDS["guest powers off"]) == OFF
    assert outcome(vm(strategy, ended, restartedAt="2026-01-01T00:00:00Z"), ENDS["guest powers off"]) == AT_ONCE


@pytest.mark.parametrize("spec", [{}, {"restartedAt": "2025-01-01T00:00:00Z"}])
def test_removing_restarted_at_or_leaving_it_does_nothing(spec: dict[str, Any]) -> None:
    machine = vm("Always", {**running(), "restartedAt": "2025-01-01T00:00:00Z"}, **spec)
    guest = Observed(power=Power.RUNNING, started_at=SOON)
    assert desired_of(brought_up(machine, guest, NOW), guest).goal is Goal.RUN


def test_restarted_at_of_a_halted_vm_starts_nothing() -> None:
    machine = vm("Halted", running(), restartedAt="2026-01-01T00:00:00Z")
    assert outcome(machine, ENDS["guest powers off"]) == OFF


def test_an_agent_that_was_killed_after_a_restart_does_not_restart_again() -> None:
    """The domain itself says for which value it was made: the status may be a report behind."""
    asked = "2026-01-01T00:00:00Z"
    behind = vm("Always", running(), restartedAt=asked)
    guest = Observed(power=Power.RUNNING, started_at=NOW, restarted_at=asked)
    assert desired_of(brought_up(behind, guest, NOW), guest).goal is Goal.RUN


@pytest.mark.parametrize(
    ("strategy", "goal"), [("Always", Goal.RESTART), ("RerunOnFailure", Goal.RESTART), ("Once", Goal.STOP)]
)
def test_a_guest_that_fails_its_liveness_probe_is_restarted_where_failures_are(strategy: str, goal: Goal) -> None:
    guest = Observed(power=Power.RUNNING, started_at=SOON, live=False)
    assert desired_of(brought_up(vm(strategy, running()), guest, NOW), guest).goal is goal


def test_a_guest_that_was_stopped_for_its_probe_has_failed_however_it_went_down() -> None:
    stopping = {
        "type": "Ready",
        "status": "False",
        "reason": "LivenessProbeFailed",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    machine = vm("RerunOnFailure", {**running(), "conditions": [stopping]})
    assert brought_up(machine, ENDS["guest powers off"], NOW).status.end_reason == "ProbeFailed"
    assert outcome(machine, ENDS["guest powers off"]) == AFTER_A_PAUSE


UNTOLD = Observed(power=Power.OFF, reason="Shutdown", node_boot_id=BOOT, boot_id=BOOT, started_at=SOON, claim_id="c1")
"""Off, and its definition notes a start of which no report has told."""


@pytest.mark.parametrize(
    ("strategy", "reason", "expected"),
    [
        ("Once", "Shutdown", OFF),
        ("Once", "Unknown", OFF),
        ("RerunOnFailure", "Shutdown", OFF),
        ("RerunOnFailure", "Crashed", AFTER_A_PAUSE),
        ("Always", "Shutdown", AFTER_A_PAUSE),
    ],
)
def test_a_start_that_was_never_reported_and_has_ended_counts(strategy: str, reason: str, expected: str) -> None:
    seen = replace(UNTOLD, reason=reason)
    assert outcome(vm(strategy), seen) == expected
    status = brought_up(vm(strategy), seen, NOW).status
    assert (status.started_at, status.ended_at, status.node_boot_id) == (SOON, NOW, BOOT)


def test_a_restart_that_was_never_reported_and_has_ended_counts() -> None:
    asked = "2026-01-01T00:00:00Z"
    before = {**running(LONG_AGO), "endedAt": LONG_AGO.isoformat(), "endReason": "PoweredOff", "restartCount": 2}
    machine = vm("Once", before, restartedAt=asked)
    seen = replace(UNTOLD, restarted_at=asked)
    assert outcome(machine, ENDS["guest powers off"]) == AT_ONCE
    assert outcome(machine, seen) == OFF
    status = brought_up(machine, seen, NOW).status
    assert (status.started_at, status.ended_at, status.restart_count) == (SOON, NOW, 3)


def test_a_start_that_was_reported_counts_once() -> None:
    reported = brought_up(vm("Always"), UNTOLD, NOW)
    assert brought_up(reported, UNTOLD, NOW + timedelta(seconds=5)).status == reported.status


def test_a_note_of_a_start_before_the_one_that_was_reported_says_nothing() -> None:
    reported = brought_up(vm("Always", running(SOON)), ENDS["QEMU dies"], NOW)
    older = replace(UNTOLD, started_at=LONG_AGO)
    assert brought_up(reported, older, NOW).status == reported.status


@pytest.mark.parametrize("status", [{"stoppedClaim": "c0"}, {}])
def test_a_note_from_before_a_halt_says_nothing_under_the_next_claim(status: dict[str, Any]) -> None:
    before = replace(UNTOLD, claim_id="c0")
    assert outcome(vm("Once", {**status, "admittedClaim": "c0"}), before) == AT_ONCE


def test_a_guest_of_another_node_is_not_taken_for_one_that_ran_here_before() -> None:
    ran_elsewhere = vm("Always", running())
    assert (
        brought_up(ran_elsewhere, replace(UNTOLD, started_at=LONG_AGO, claim_id="c-7"), NOW).status.started_at == SOON
    )


ASKED = Observed(power=Power.OFF, reason="Shutdown", node_boot_id=BOOT, asked_to_stop_at=SOON)


@pytest.mark.parametrize(
    ("asked_for", "end", "expected"), [("Stopped", "Stopped", AT_ONCE), ("ProbeFailed", "ProbeFailed", AFTER_A_PAUSE)]
)
def test_a_guest_that_obeys_when_the_stop_was_taken_back_has_not_powered_itself_off(
    asked_for: str, end: str, expected: str
) -> None:
    seen = replace(ASKED, asked_to_stop_for=asked_for)
    machine = vm("RerunOnFailure", running(LONG_AGO))
    assert brought_up(machine, seen, NOW).status.end_reason == end
    assert outcome(vm("RerunOnFailure", running()), seen) == expected


def test_a_guest_that_was_asked_long_ago_and_stayed_has_powered_itself_off() -> None:
    seen = replace(ASKED, asked_to_stop_for="Stopped", asked_to_stop_at=LONG_AGO)
    assert brought_up(vm("RerunOnFailure", running(LONG_AGO)), seen, NOW).status.end_reason == "PoweredOff"


def test_a_guest_that_nobody_has_looked_at_since_it_was_asked_has_obeyed() -> None:
    seen = replace(ASKED, asked_to_stop_for="Stopped", asked_to_stop_at=LONG_AGO)
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "GuestStopping",
        "lastTransitionTime": LONG_AGO.isoformat(),
    }
    stopping = {**running(LONG_AGO), "phase": "Stopping", "conditions": [ready]}
    assert brought_up(vm("RerunOnFailure", stopping), seen, NOW).status.end_reason == "Stopped"


def test_a_guest_that_crashes_while_it_obeys_has_crashed() -> None:
    seen = replace(ASKED, asked_to_stop_for="Stopped", reason="Crashed")
    assert brought_up(vm("RerunOnFailure", running()), seen, NOW).status.end_reason == "Crashed"


@pytest.mark.parametrize(
    ("spec", "live", "expected"),
    [
        ({}, False, "ProbeFailed"),
        ({"restartedAt": "2026-01-01T00:00:00Z"}, False, "Stopped"),
        ({"restartedAt": "2026-01-01T00:00:00Z"}, None, "Stopped"),
    ],
)
def test_what_a_guest_is_asked_to_stop_for(spec: dict[str, Any], live: bool | None, expected: str) -> None:
    guest = Observed(power=Power.RUNNING, started_at=SOON, live=live)
    assert stop_reason(vm("Always", running(), **spec), guest) == expected
    assert stop_reason(vm("Halted", running(), **spec), guest) == "Stopped"


OLD = {"startedAt": SOON.isoformat(), "observedGeneration": 4}
"""The record of a version that knew no restarts: it has no boot ID."""


@pytest.mark.parametrize(
    ("record", "asked", "goal"),
    [
        (OLD, "2026-01-01T00:00:00Z", Goal.RUN),
        ({**OLD, "observedGeneration": 3}, "2025-01-01T00:00:00Z", Goal.RUN),
        ({**OLD, "observedGeneration": 3}, "2026-01-01T00:00:00Z", Goal.RESTART),
        ({**OLD, "nodeBootID": BOOT}, "2026-01-01T00:00:00Z", Goal.RESTART),
    ],
)
def test_an_upgrade_restarts_no_guest_whose_restart_an_older_version_left_alone(
    record: dict[str, Any], asked: str, goal: Goal
) -> None:
    guest = Observed(power=Power.RUNNING, started_at=SOON, node_boot_id=BOOT)
    machine = brought_up(vm("Always", record, restartedAt=asked), guest, NOW)
    assert desired_of(machine, guest).goal is goal
    again = vm("Always", {**OLD, "nodeBootID": BOOT, "restartedAt": asked}, restartedAt="2026-02-01T00:00:00Z")
    assert desired_of(brought_up(again, guest, NOW), guest).goal is Goal.RESTART


def test_a_vm_that_gave_its_cpu_and_memory_back_waits_for_a_new_claim() -> None:
    machine = vm("Always", {"stoppedClaim": "c1"})
    assert should_run(machine)
    assert outcome(machine, ENDS["guest powers off"]) == OFF
    assert outcome(vm("Always", {"stoppedClaim": "c0"}), ENDS["guest powers off"]) == AT_ONCE


@given(st.integers(1, 50), st.uuids().map(str))
def test_pauses_grow_with_the_square_and_are_bounded(failures: int, uid: str) -> None:
    most = min(MOST, FIRST * failures**2)
    seconds = pause(uid, failures).total_seconds()
    assert most * (1 - JITTER) <= seconds <= most
    assert pause(uid, failures) == pause(uid, failures)


def test_vms_that_failed_together_do_not_start_together() -> None:
    assert len({pause(str(number), 3) for number in range(50)}) > 40


def test_the_first_pause_is_ten_seconds_and_the_third_ninety() -> None:
    assert pause("u", 0) == timedelta()
    assert 7.5 <= pause("u", 1).total_seconds() <= 10
    assert 67.5 <= pause("u", 3).total_seconds() <= 90


def test_the_next_start_is_dated_from_the_end_that_was_seen() -> None:
    ended = {**running(), "endedAt": NOW.isoformat(), "endReason": "Crashed", "failureCount": 2}
    machine = vm("Always", ended)
    assert next_start(machine) == NOW + pause("u1", 2)
