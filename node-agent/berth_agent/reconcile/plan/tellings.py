"""What is worth an Event in the life of a VM, as a pure function of what its status said and what it says now.

Made from the status and not from what the agent did: so what happened while no agent ran is told by the next one, once,
and an agent that is started anew repeats nothing. The reasons are the kubelet's where it has one (Started, Killing,
BackOff, Unhealthy, Failed…), else KubeVirt's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from berth_agent.reconcile.plan.conditions import NOT_CLAIMED
from berth_agent.reconcile.plan.situations import Failure
from berth_api.virtualmachines import VirtualMachine

UNHEALTHY_REASONS = ("Unhealthy", "LivenessProbeFailed", "ReadinessProbeFailed")
"""Reasons of Ready=False by which a status says that a probe fails."""
_UNTOLD_FAILURES = ("ObjectChanged", "HypervisorUnavailable")
"""The first is no failure but news; the second is the node's, not the VM's, and would be told for each of its VMs."""
_ENDS: Mapping[str, tuple[Literal["Normal", "Warning"], str]] = {
    "PoweredOff": ("Normal", "the guest powered itself off"),
    "Stopped": ("Normal", "the guest was stopped, as asked"),
    "Crashed": ("Warning", "the guest panicked, or its QEMU process died"),
    "ProbeFailed": ("Warning", "the guest was stopped, as its liveness probe failed"),
    "NodeRebooted": ("Warning", "the guest ended with a reboot of its node"),
}
_UNSEEN_END: tuple[Literal["Normal", "Warning"], str] = ("Warning", "the guest ended, and nobody saw how")


@dataclass(frozen=True)
class Telling:
    """Something to tell the users of a VM."""

    type: Literal["Normal", "Warning"]
    reason: str
    """One CamelCase word, of a fixed set."""
    note: str


def events_of(before: VirtualMachine, after: Mapping[str, Any], failure: Failure | None = None) -> tuple[Telling, ...]:
    """What to tell when a VM's status changes.

    Args:
        before: The VM as its object is.
        after: The agent's status of it, as it is written (`reports.status_of`).
        failure: The step that did not succeed, if one did not.
    """
    was = before.status.to_api()
    found = (
        *_ends(was, after),
        *_back_off(was, after),
        *_starts(was, after),
        *_pauses(was, after),
        *_phases(was, after),
        *_conditions(was, after),
        *_failures(failure),
    )
    return tuple(Telling(each.type, each.reason, _on_one_line(each.note)) for each in found)


def _ends(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Telling]:
    if now.get("endedAt") and now.get("endedAt") != was.get("endedAt"):
        type_, note = _ENDS.get(now.get("endReason", ""), _UNSEEN_END)
        yield Telling(type_, "Stopped", note)
    elif was.get("startedAt") and not was.get("endedAt") and now.get("phase") == "Stopped" and not now.get("startedAt"):
        yield Telling("Normal", "Stopped", _ENDS["Stopped"][1])  # a halted VM's record is cleared with its guest's end


def _back_off(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Telling]:
    if now.get("phase") != "CrashLoopBackOff":
        return
    same = was.get("phase") == "CrashLoopBackOff" and was.get("failureCount") == now.get("failureCount")
    if not same:
        message = _condition(now, "Ready").get("message", "")
        end = now.get("endReason", "Unknown")
        yield Telling("Warning", "BackOff", message or f"restarting after the guest ended: {end}")


def _starts(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Telling]:
    started = now.get("startedAt")
    if not started or started == was.get("startedAt"):
        return
    restarts, asked = now.get("restartCount", 0), now.get("restartedAt")
    if not was.get("startedAt") or restarts == was.get("restartCount", 0):
        yield Telling("Normal", "Started", "the guest was started")
    elif asked and asked != was.get("restartedAt"):
        yield Telling("Normal", "Restarted", "the guest was started again, as restartedAt asked")
    elif now.get("nodeBootID") != was.get("nodeBootID"):
        yield Telling("Normal", "Restarted", "the guest was started again after its node had rebooted")
    else:
        end = was.get("endReason") or now.get("endReason") or "Unknown"
        yield Telling("Normal", "Restarted", f"the guest was started again after it had ended: {end}")


def _pauses(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Telling]:
    before, after = _is_true(was, "Paused"), _is_true(now, "Paused")
    if after and not before:
        by_user = _condition(now, "Paused").get("reason") == "PausedByUser"
        yield (
            Telling("Normal", "Paused", "the guest was paused, as asked")
            if by_user
            else Telling("Warning", "Paused", "the guest was paused on its node, by nobody's wish in Kubernetes")
        )
    elif before and not after and now.get("phase") == "Running":
        yield Telling("Normal", "Resumed", "the guest goes on")


def _phases(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Telling]:
    phase = now.get("phase")
    if phase == was.get("phase"):
        return
    if phase == "Stopping":
        yield Telling("Normal", "Killing", "the guest is asked to power off")
    elif phase == "Terminating":
        yield Telling("Normal", "Terminating", "the VM is being deleted: its guest ends, and all it has is taken down")


def _conditions(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Telling]:
    ready, ready_before = _condition(now, "Ready"), _condition(was, "Ready")
    if _said(ready) != _said(ready_before):
        if ready.get("reason") == "ClaimRefused":
            yield Telling("Warning", "ClaimRefused", ready.get("message", ""))
        elif ready.get("reason") == NOT_CLAIMED:
            yield Telling("Warning", NOT_CLAIMED, ready.get("message", ""))
        elif ready.get("reason") in UNHEALTHY_REASONS:
            yield Telling("Warning", "Unhealthy", ready.get("message", "") or "a probe of the guest failed")
    changed = _condition(now, "RestartRequired")
    if changed.get("status") == "True" and _said(changed) != _said(_condition(was, "RestartRequired")):
        yield Telling("Normal", "RestartRequired", changed.get("message", ""))


def _failures(failure: Failure | None) -> Iterator[Telling]:
    if failure is not None and failure.reason not in _UNTOLD_FAILURES:
        yield Telling("Warning", f"Failed{failure.step.name}", f"{failure.reason}: {failure.message}")


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next((each for each in status.get("conditions", ()) if each["type"] == kind), {})
    return found


def _is_true(status: Mapping[str, Any], kind: str) -> bool:
    return _condition(status, kind).get("status") == "True"


def _said(condition: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(condition.get(part) for part in ("status", "reason", "message"))


def _on_one_line(note: str) -> str:
    """It may quote an image server, a plugin or a guest."""
    return " ".join("".join(c if c.isprintable() else " " for c in note).split())
