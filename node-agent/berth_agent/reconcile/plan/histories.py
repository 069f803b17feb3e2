"""What has become of a VM's guests: the record in its status, brought up to what is seen now.

The record is all that an agent knows of the past; it is on the object, so an agent that was killed at any point goes on
from it. Nothing here is an event: that a guest has ended is seen from a record that says it was started and a domain
that is off, however long ago that was.
"""

from datetime import UTC, datetime, timedelta

from berth_agent.reconcile.plan.observed import Observed, Power
from berth_api.running import restart_pending
from berth_api.virtualmachines import EndReason, VirtualMachine, VirtualMachineStatus

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
        return _with(vm, **_alive(vm.status, observed, now))
    if vm.spec.run_strategy == "Halted" and vm.metadata.deletion_timestamp is None:
        return _with(vm, started_at=None, ended_at=None, end_reason=None, node_boot_id=None, **_NO_COUNTS)
    if vm.status.started_at is None:
        return vm
    if vm.status.ended_at is not None:  # a clock that was set back must not keep a guest off
        return vm if vm.status.ended_at <= now else _with(vm, ended_at=now)
    return _with(vm, **_ended(vm, observed, now))


_NO_COUNTS = {"restart_count": None, "failure_count": None, "restarted_at": None}


def _with(vm: VirtualMachine, **record: object) -> VirtualMachine:
    return vm.model_copy(update={"status": vm.status.model_copy(update=record)})


def _alive(status: VirtualMachineStatus, observed: Observed, now: datetime) -> dict[str, object]:
    known = status.started_at if status.ended_at is None else None
    started = observed.started_at or known or now
    again = status.started_at is not None and started != status.started_at
    failures = status.failure_count
    return {
        "started_at": started,
        "ended_at": None,
        "end_reason": None,
        "node_boot_id": observed.boot_id or observed.node_boot_id or status.node_boot_id,
        "restarted_at": _moment(observed.restarted_at) or status.restarted_at,
        "restart_count": (status.restart_count or 0) + 1 if again else status.restart_count,
        "failure_count": None if now - started >= HEALTHY_AFTER else failures,
    }


def _ended(vm: VirtualMachine, observed: Observed, now: datetime) -> dict[str, object]:
    reason = end_reason(vm, observed)
    started = vm.status.started_at or now
    before = vm.status.failure_count or 0
    match reason:
        case "Stopped" | "NodeRebooted":
            failures = before
        case _:
            failures = 0 if now - started >= HEALTHY_AFTER else before + 1
    return {"ended_at": now, "end_reason": reason, "failure_count": failures or None}


def end_reason(vm: VirtualMachine, observed: Observed) -> EndReason:
    """How the guest that was started last came to its end."""
    ready = vm.status.condition("Ready")
    if vm.metadata.deletion_timestamp is not None or vm.spec.run_strategy == "Halted" or restart_pending(vm):
        return "Stopped"
    if ready is not None and ready.reason == PROBE_FAILED:
        return "ProbeFailed"
    if vm.status.node_boot_id and observed.node_boot_id and vm.status.node_boot_id != observed.node_boot_id:
        return "NodeRebooted"
    if observed.power is Power.CRASHED:
        return "Crashed"
    return _REASONS.get(observed.reason, "Unknown")


def _moment(text: str) -> datetime | None:
    """A time from the domain's metadata; None where there is none, or nothing that is one."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None
