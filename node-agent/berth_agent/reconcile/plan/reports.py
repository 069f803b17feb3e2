"""The agent's part of a VM's status, as a pure function of what was asked, seen, answered and gone wrong.

The whole part is made each time and written only where it differs from what the object already says, so an unchanged
VM causes no writes. A condition's transition time moves only when its status does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from berth_agent.reconcile.plan.desired import Desired, Goal
from berth_agent.reconcile.plan.observed import Observed, ObservedInterface, Power
from berth_agent.reconcile.plan.steps import (
    AttachInterface,
    CreateDisk,
    Step,
    WriteSeed,
)
from berth_api.objects import Condition
from berth_api.quantities import from_bytes
from berth_api.virtualmachines import DiskStatus, InterfaceStatus, Phase, VirtualMachine, VirtualMachineStatus

PREPARING = "Preparing"
"""The reason of a condition that will come true by itself."""
MAX_MESSAGE = 2048
"""Characters of a condition's message: an error may quote what a hostile image or server sent."""

_Seen = TypeVar("_Seen")
_DISK_STEPS = (CreateDisk, WriteSeed)


@dataclass(frozen=True)
class Failure:
    """A step that did not succeed."""

    step: Step
    reason: str
    message: str
    retryable: bool


@dataclass(frozen=True)
class Answers:
    """What the agent says of the claim, and what it did in this round that cannot be seen afterwards."""

    admitted: str | None = None
    refused: str | None = None
    released: str | None = None
    refusal: str = ""
    started: bool = False
    """The domain was started in this round."""
    preparing: str = ""
    """What is under way, in words."""


@dataclass(frozen=True)
class Situation:
    """All that a status is made from."""

    vm: VirtualMachine
    desired: Desired
    observed: Observed
    answers: Answers = Answers()
    failure: Failure | None = None


def status_of(situation: Situation, now: datetime) -> dict[str, Any]:
    """The agent's status of a VM that is bound here, as the API server takes it."""
    vm, desired, observed, answers = situation.vm, situation.desired, situation.observed, situation.answers
    previous = vm.status
    fresh_start = answers.started or (observed.power.is_active and previous.started_at is None)
    restarts = previous.restart_count or 0
    status = VirtualMachineStatus(
        admitted_claim=answers.admitted,
        refused_claim=answers.refused,
        released_claim=answers.released,
        phase=phase_of(situation),
        interfaces=tuple(_interface(nic) for nic in _in_order(desired.interface_names, observed.interfaces)),
        disks=tuple(
            DiskStatus(
                name=disk.name,
                target=disk.target,
                capacity=from_bytes(disk.capacity),
                source=disk.path,
                digest=disk.digest,
            )
            for disk in _in_order(desired.disk_names, observed.disks)
        ),
        domain_uuid=observed.domain_uuid,
        machine_type=observed.machine_type or previous.machine_type,
        started_at=now if fresh_start else previous.started_at,
        restart_count=restarts + 1 if fresh_start and previous.started_at is not None else previous.restart_count,
        observed_generation=vm.metadata.generation,
        conditions=_conditions(situation, now),
    )
    return {name: value for name, value in status.to_api().items() if value not in ([], None)}


def phase_of(situation: Situation) -> Phase:
    """The VM in one word; the first that fits."""
    desired, observed, failure = situation.desired, situation.observed, situation.failure
    if desired.goal in (Goal.REMOVE, Goal.PURGE):
        return "Terminating"
    if observed.power.is_active:
        if desired.goal is Goal.STOP or observed.power is Power.STOPPING:
            return "Stopping"
        return "Paused" if observed.power is Power.PAUSED else "Running"
    if desired.goal is Goal.STOP:
        return "Stopped"
    if failure is not None and not failure.retryable:
        return "Failed"
    return "Starting" if situation.answers.admitted else "Scheduled"


def _in_order(names: Iterable[str], found: Mapping[str, _Seen]) -> Iterable[_Seen]:
    return (found[name] for name in names if name in found)


def _interface(nic: ObservedInterface) -> InterfaceStatus:
    return InterfaceStatus(
        name=nic.name,
        network_name=nic.network_name,
        device=nic.device,
        sandbox=nic.sandbox,
        mac_address=nic.mac_address,
        ip_addresses=tuple(address.split("/")[0] for address in nic.ip_addresses),
    )


@dataclass(frozen=True)
class _Aspect:
    type: str
    status: Literal["True", "False"]
    reason: str
    message: str = ""


def _conditions(situation: Situation, now: datetime) -> tuple[Condition, ...]:
    desired, observed = situation.desired, situation.observed
    aspects = [_disks(situation), _networks(situation), _ready(situation)]
    if observed.power is Power.PAUSED:
        aspects.append(_Aspect("Paused", "True", "PausedByUser" if desired.goal is Goal.PAUSE else "PausedOnNode"))
    if observed.guest_agent_connected:
        aspects.append(_Aspect("GuestAgentConnected", "True", "AgentConnected"))
    return tuple(_dated(situation.vm, aspect, now) for aspect in aspects)


def _dated(vm: VirtualMachine, aspect: _Aspect, now: datetime) -> Condition:
    before = vm.status.condition(aspect.type)
    same = before is not None and before.status == aspect.status
    return Condition(
        type=aspect.type,
        status=aspect.status,
        reason=aspect.reason,
        message=aspect.message[:MAX_MESSAGE],
        last_transition_time=before.last_transition_time if before is not None and same else now,
        observed_generation=vm.metadata.generation,
    )


def _disks(situation: Situation) -> _Aspect:
    failure = situation.failure
    if failure is not None and isinstance(failure.step, _DISK_STEPS):
        return _Aspect("DisksReady", "False", failure.reason, failure.message)
    missing = [name for name in situation.desired.disk_names if name not in situation.observed.disks]
    if missing:
        return _Aspect("DisksReady", "False", PREPARING, situation.answers.preparing)
    return _Aspect("DisksReady", "True", "DisksReady")


def _networks(situation: Situation) -> _Aspect:
    failure = situation.failure
    if failure is not None and isinstance(failure.step, AttachInterface):
        return _Aspect(
            "NetworkReady", "False", failure.reason, f"interface {failure.step.interface}: {failure.message}"
        )
    for name in situation.desired.interface_names:
        nic = situation.observed.interfaces.get(name)
        if nic is None:
            return _Aspect("NetworkReady", "False", PREPARING, situation.answers.preparing)
        if not nic.intact:
            return _Aspect("NetworkReady", "False", "AttachmentBroken", f"interface {name}: {nic.problem}")
    return _Aspect("NetworkReady", "True", "InterfacesAttached")


def _ready(situation: Situation) -> _Aspect:
    phase, answers, failure = phase_of(situation), situation.answers, situation.failure
    if phase == "Running":
        return _Aspect("Ready", "True", "GuestRunning")
    if answers.refused:
        return _Aspect("Ready", "False", "ClaimRefused", answers.refusal)
    if failure is not None:
        return _Aspect("Ready", "False", failure.reason, failure.message)
    return _Aspect("Ready", "False", f"Guest{phase}" if phase in ("Paused", "Stopped", "Stopping") else phase)


_AGENTS_CONDITIONS = ("DisksReady", "NetworkReady", "Ready", "Paused", "GuestAgentConnected")
_OPERATORS_FIELDS = ("nodeName", "claim")


def agents_part(vm: VirtualMachine) -> dict[str, Any]:
    """What the object's status says already, as far as it is the agent's: comparable with `status_of`."""
    status = vm.status.model_copy(
        update={"conditions": tuple(c for c in vm.status.conditions if c.type in _AGENTS_CONDITIONS)}
    ).to_api()
    return {name: value for name, value in status.items() if value not in ([], None) and name not in _OPERATORS_FIELDS}
