"""The agent's conditions of a VM. A condition's transition time moves only when its status does."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from berth_agent.reconcile.plan.desired import Goal
from berth_agent.reconcile.plan.differences import differences
from berth_agent.reconcile.plan.histories import PROBE_FAILED
from berth_agent.reconcile.plan.observed import Power
from berth_agent.reconcile.plan.phases import phase_of
from berth_agent.reconcile.plan.situations import PREPARING, Situation
from berth_agent.reconcile.plan.steps import AttachInterface, CreateDisk, PlugCPUs, PlugMemory, WriteSeed
from berth_api.objects import Condition
from berth_api.virtualmachines import Phase

AGENTS_CONDITIONS = ("DisksReady", "NetworkReady", "Ready", "Paused", "GuestAgentConnected", "RestartRequired")
"""Types that are the agent's."""
NOT_CLAIMED = "NotClaimed"
"""Reason of the condition Ready of a guest that somebody has started on room that others may have."""
MAX_MESSAGE = 2048
"""Characters of a condition's message: an error may quote what a hostile image or server sent."""
_STARTED_BY_HAND = (
    "the guest was started on its node, but not by Berth, which has given its CPU and memory away: it is stopped; "
    "runStrategy and restartedAt start it"
)
_DISK_STEPS = (CreateDisk, WriteSeed)


@dataclass(frozen=True)
class _Aspect:
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


def conditions_of(situation: Situation, now: datetime) -> tuple[Condition, ...]:
    """All conditions that hold or do not hold now; one that is left out has nothing to say."""
    desired, observed = situation.desired, situation.observed
    aspects = [_disks(situation), _networks(situation), _ready(situation)]
    if observed.power is Power.PAUSED:
        aspects.append(_Aspect("Paused", "True", "PausedByUser" if desired.goal is Goal.PAUSE else "PausedOnNode"))
    if observed.guest_agent_connected:
        aspects.append(_Aspect("GuestAgentConnected", "True", "AgentConnected"))
    aspects += _restart_required(situation)
    return tuple(_dated(situation, aspect, now) for aspect in aspects)


def _dated(situation: Situation, aspect: _Aspect, now: datetime) -> Condition:
    before = situation.vm.status.condition(aspect.type)
    same = before is not None and before.status == aspect.status
    return Condition(
        type=aspect.type,
        status=aspect.status,
        reason=aspect.reason,
        message=aspect.message[:MAX_MESSAGE],
        last_transition_time=before.last_transition_time if before is not None and same else now,
        observed_generation=situation.seen_generation,
    )


def _restart_required(situation: Situation) -> list[_Aspect]:
    """Only while a guest runs: what is started next has what the spec asks for then."""
    wanted, observed, failure = situation.desired.hardware, situation.observed, situation.failure
    if not observed.power.is_active or not situation.desired.goal.is_making:
        return []
    if wanted is None:
        return [
            _Aspect("RestartRequired", "Unknown", "ClassNotFound", "its class is not there: nothing to compare with")
        ]
    if failure is not None and isinstance(failure.step, (PlugCPUs, PlugMemory)):
        return [_Aspect("RestartRequired", "True", "HotplugFailed", failure.message)]
    differing = differences(wanted, observed)
    if differing:
        how = "a new value of restartedAt brings them in"
        return [
            _Aspect("RestartRequired", "True", "SpecChanged", f"the guest runs without: {', '.join(differing)}; {how}")
        ]
    if situation.answers.refusal:
        return [_Aspect("RestartRequired", "True", "ClaimRefused", situation.answers.refusal)]
    return []


def _disks(situation: Situation) -> _Aspect:
    failure, running = situation.failure, situation.observed.power.is_active
    if failure is not None and isinstance(failure.step, _DISK_STEPS):
        return _Aspect("DisksReady", "False", failure.reason, failure.message)
    missing = [name for name in situation.desired.disk_names if name not in situation.observed.disks]
    if missing and not running:
        return _Aspect("DisksReady", "False", PREPARING, situation.answers.preparing)
    return _Aspect("DisksReady", "True", "DisksReady")


def _networks(situation: Situation) -> _Aspect:
    """Of a running guest only the NICs that it was started with: for others it needs a restart."""
    failure, running = situation.failure, situation.observed.power.is_active
    if failure is not None and isinstance(failure.step, AttachInterface):
        return _Aspect(
            "NetworkReady", "False", failure.reason, f"interface {failure.step.interface}: {failure.message}"
        )
    for name in situation.desired.interface_names:
        nic = situation.observed.interfaces.get(name)
        if nic is None and not running:
            return _Aspect("NetworkReady", "False", PREPARING, situation.answers.preparing)
        if nic is not None and not nic.intact:
            return _Aspect("NetworkReady", "False", "AttachmentBroken", f"interface {name}: {nic.problem}")
    return _Aspect("NetworkReady", "True", "InterfacesAttached")


def _ready(situation: Situation) -> _Aspect:
    phase, observed = phase_of(situation), situation.observed
    if phase == "Running":
        if observed.ready is False:
            return _Aspect("Ready", "False", "ReadinessProbeFailed", observed.unhealthy)
        return _Aspect("Ready", "True", "GuestRunning")
    return _why_not(situation, phase)


def _why_not(situation: Situation, phase: Phase) -> _Aspect:
    answers, failure = situation.answers, situation.failure
    stopping = _why_stopping(situation) if phase == "Stopping" else None
    if stopping is not None:
        return stopping
    if answers.refusal and not situation.observed.power.is_active:
        return _Aspect("Ready", "False", "ClaimRefused", answers.refusal)
    if failure is not None:
        return _Aspect("Ready", "False", failure.reason, failure.message)
    before = situation.vm.status.condition("Ready")
    if situation.desired.yielded and before is not None and before.reason == "ClaimRefused":
        return _Aspect("Ready", "False", "ClaimRefused", before.message)
    if phase == "CrashLoopBackOff":
        return _Aspect("Ready", "False", phase, _looping(situation))
    return _Aspect("Ready", "False", f"Guest{phase}" if phase in ("Paused", "Stopped", "Stopping") else phase)


def _why_stopping(situation: Situation) -> _Aspect | None:
    """Why a guest is stopped that nobody has asked to."""
    if situation.desired.yielded:
        return _Aspect("Ready", "False", NOT_CLAIMED, _STARTED_BY_HAND)
    if situation.observed.live is False:
        return _Aspect("Ready", "False", PROBE_FAILED, situation.observed.unhealthy)
    return None


def _looping(situation: Situation) -> str:
    """The time is that of the next start, so the words stay the same until something changes."""
    at = situation.desired.start_at
    when = f", it is started again at {at.isoformat(timespec='seconds')}" if at is not None else ""
    return f"the guest has ended again soon after its start{when}"
