"""What has become of a VM's guests: the record in its status, brought up to what is seen now.

The record is all that an agent knows of the past; it is on the object, so an agent that was killed at any point goes on
from it. Nothing here is an event: that a guest has ended is seen from a record that says it was started and a domain
that is off, however long ago that was. What no report has told of yet is noted on the domain: that a guest was started,
and that it was asked to stop, which it may do after that was taken back.
"""

from datetime import UTC, datetime, timedelta

from berth_agent.reconcile.plan.observed import Observed, Power
from berth_api.running import gave_back, restart_pending
from berth_api.virtualmachines import EndReason, VirtualMachine

OBEYS_WITHIN = timedelta(minutes=1)
"""After its grace, in which a guest may still follow a request to stop that was taken back."""
HEALTHY_AFTER = timedelta(minutes=10)
"""A guest that ran for as long was well: its end begins a new count of failures."""
PROBE_FAILED = "LivenessProbeFailed"
"""Reason of the condition Ready from the decision to restart a guest that fails its probe until it has ended."""

_REASONS: dict[str, EndReason] = {
    "Shutdown": "PoweredOff",
    "Crashed": "Crashed",
    "Panicked": "Crashed",
    "Failed": "Crashed",
}
"""What libvirt's reasons for being off say of the guest; after libvirtd was started anew it knows none."""


def brought_up(vm: VirtualMachine, observed: Observed, now: datetime) -> VirtualMachine:
    """The VM with the record of its guests as it is now. What the record does not tell of is left as it is."""
    if observed.power.is_active:
        return vm if gave_back(vm) else _with(vm, **_alive(vm, observed, now))
    if vm.spec.run_strategy == "Halted" and vm.metadata.deletion_timestamp is None:
        return _with(vm, started_at=None, ended_at=None, end_reason=None, node_boot_id=None, **_NO_COUNTS)
    if _was_started_unseen(vm, observed):
        vm = _with(vm, **_alive(vm, observed, now))
    if vm.status.started_at is None:
        return vm
    if vm.status.ended_at is not None:  # a clock that was set back must not keep a guest off
        return vm if vm.status.ended_at <= now else _with(vm, ended_at=now)
    return _with(vm, **_ended(vm, observed, now))


_NO_COUNTS = {"restart_count": None, "failure_count": None, "restarted_at": None}


def _with(vm: VirtualMachine, **record: object) -> VirtualMachine:
    return vm.model_copy(update={"status": vm.status.model_copy(update=record)})


def _was_started_unseen(vm: VirtualMachine, observed: Observed) -> bool:
    """Whether the domain notes a start that the record does not know of.

    A halted VM begins anew under another claim: then a note from before says nothing, so where the record is empty only
    the present claim's counts.
    """
    status, claims = vm.status, {vm.status.claim.id if vm.status.claim is not None else None}
    if status.started_at is not None:
        claims.add(status.admitted_claim)
    return (
        observed.started_at is not None
        and (status.started_at is None or observed.started_at > status.started_at)
        and observed.claim_id in claims
        and observed.claim_id != status.stopped_claim
    )


def _alive(vm: VirtualMachine, observed: Observed, now: datetime) -> dict[str, object]:
    status = vm.status
    known = status.started_at if status.ended_at is None else None
    started = observed.started_at or known or now
    again = status.started_at is not None and started != status.started_at
    failures = status.failure_count
    return {
        "started_at": started,
        "ended_at": None,
        "end_reason": None,
        "node_boot_id": observed.boot_id or observed.node_boot_id or status.node_boot_id,
        "restarted_at": _moment(observed.restarted_at) or status.restarted_at or _ignored_restart(vm),
        "restart_count": (status.restart_count or 0) + 1 if again else status.restart_count,
        "failure_count": None if now - started >= HEALTHY_AFTER else failures,
    }


def _ended(vm: VirtualMachine, observed: Observed, now: datetime) -> dict[str, object]:
    reason = end_reason(vm, observed, now)
    started = vm.status.started_at or now
    before = vm.status.failure_count or 0
    match reason:
        case "Stopped" | "NodeRebooted":
            failures = before
        case _:
            failures = 0 if now - started >= HEALTHY_AFTER else before + 1
    return {"ended_at": now, "end_reason": reason, "failure_count": failures or None}


def end_reason(vm: VirtualMachine, observed: Observed, now: datetime) -> EndReason:
    """How the guest that was started last came to its end."""
    if vm.metadata.deletion_timestamp is not None or vm.spec.run_strategy == "Halted" or restart_pending(vm):
        return "Stopped"
    ready = vm.status.condition("Ready")
    if ready is not None and ready.reason == PROBE_FAILED:
        return "ProbeFailed"
    if vm.status.node_boot_id and observed.node_boot_id and vm.status.node_boot_id != observed.node_boot_id:
        return "NodeRebooted"
    if observed.power is Power.CRASHED:
        return "Crashed"
    reason = _REASONS.get(observed.reason, "Unknown")
    return reason if reason == "Crashed" else _asked_for(vm, observed, now) or reason


def stop_reason(vm: VirtualMachine, observed: Observed) -> EndReason:
    """Why a guest is asked to stop now."""
    wanted = vm.spec.run_strategy == "Halted" or restart_pending(vm) or gave_back(vm)
    return "ProbeFailed" if observed.live is False and not wanted else "Stopped"


def _asked_for(vm: VirtualMachine, observed: Observed, now: datetime) -> EndReason | None:
    """What the guest was asked to stop for, if that is why it has: lately, or when the last report was written."""
    asked, ready = observed.asked_to_stop_at, vm.status.condition("Ready")
    if asked is None:
        return None
    lately = now - asked <= timedelta(seconds=vm.spec.termination_grace_period_seconds) + OBEYS_WITHIN
    told = vm.status.phase == "Stopping" and ready is not None and ready.last_transition_time <= asked
    if lately or told:
        return "ProbeFailed" if observed.asked_to_stop_for == "ProbeFailed" else "Stopped"
    return None


def _ignored_restart(vm: VirtualMachine) -> datetime | None:
    """The `restartedAt` that a version of Berth left alone which did not know it: it asks for nothing any more.

    Such a version wrote no boot ID. What it has not seen counts if it is later than the start.
    """
    status, wanted = vm.status, vm.spec.restarted_at
    if wanted is None or status.started_at is None or status.node_boot_id is not None:
        return None
    seen = status.observed_generation == vm.metadata.generation
    return wanted if seen or wanted <= status.started_at else None


def _moment(text: str) -> datetime | None:
    """A time from the domain's metadata; None where there is none, or nothing that is one."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None
