"""How long the stages of VMs' lives take, from the moments at which this agent saw them.

An object's own times are in whole seconds, which is longer than most stages. So the agent counts from what it saw by
its own clock, and counts only what it saw from beginning to end: after a restart it has nothing to say of what was
under way. Only creation lies before the agent's time; it counts by the object's times.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from berth_api.fields import CONDITION_SCHEDULED
from berth_api.virtualmachines import VirtualMachine

RESTART_REQUESTED = "RestartRequested"
"""Stands beside the reasons of ends: the guest had not ended by itself, its VM's restartedAt asked for it."""


class Stage(StrEnum):
    """A stretch of a VM's life."""

    CREATED_TO_BOUND = "created_to_bound"
    BOUND_TO_STARTED = "bound_to_started"
    STARTED_TO_READY = "started_to_ready"
    DELETED_TO_RELEASED = "deleted_to_released"


class Figures(Protocol):
    """Where the durations go."""

    def transition(self, phase_from: str, phase_to: str, seconds: float) -> None:
        """A VM was so long in a phase before it came to the next."""

    def stage(self, stage: Stage, seconds: float) -> None:
        """A stage of a VM's life is over."""

    def restarted(self, reason: str) -> None:
        """A guest was started again after it had ended."""


@dataclass
class _Life:
    """What was seen of one VM, in seconds of the clock."""

    bound: float | None = None
    started: float | None = None
    deleted: float | None = None
    phase: str = ""
    phase_since: float | None = None


class Timelines:
    """What was seen of each VM on this node. `clock` gives monotonic seconds."""

    def __init__(self, figures: Figures, clock: Callable[[], float]) -> None:
        self._figures, self._clock = figures, clock
        self._lives: dict[str, _Life] = {}

    def saw(self, vm: VirtualMachine) -> None:
        """A round begins for this VM."""
        life, at = self._lives.get(vm.metadata.uid), self._clock()
        if life is None:
            life = self._lives[vm.metadata.uid] = _Life(phase=vm.status.phase or "")
            if _is_new(vm):
                life.bound = life.phase_since = at
                self._created(vm)
        if life.deleted is None and vm.metadata.deletion_timestamp is not None:
            life.deleted = at

    def wrote(self, vm: VirtualMachine, status: Mapping[str, Any]) -> None:
        """The agent's part of the VM's status was written.

        Args:
            vm: The VM as it was before.
            status: What was written.
        """
        life, at = self._lives.setdefault(vm.metadata.uid, _Life(phase=vm.status.phase or "")), self._clock()
        before = vm.status.to_api()
        phase = status.get("phase", "")
        if phase and phase != life.phase:
            if life.phase_since is not None:
                self._figures.transition(life.phase, phase, at - life.phase_since)
            life.phase, life.phase_since = phase, at
        if status.get("startedAt") and status["startedAt"] != before.get("startedAt"):
            self._began(life, at, again="startedAt" in before, reason=_why_again(before, status))
        if life.started is not None and _is_ready(status):
            self._figures.stage(Stage.STARTED_TO_READY, at - life.started)
            life.started = None
        if life.deleted is not None and status.get("releasedClaim"):
            self._figures.stage(Stage.DELETED_TO_RELEASED, at - life.deleted)
            life.deleted = None

    def forget(self, uid: str) -> None:
        """The VM is not on this node any more."""
        self._lives.pop(uid, None)

    def _began(self, life: _Life, at: float, *, again: bool, reason: str) -> None:
        if again:
            self._figures.restarted(reason)
        elif life.bound is not None:
            self._figures.stage(Stage.BOUND_TO_STARTED, at - life.bound)
        life.bound, life.started = None, at

    def _created(self, vm: VirtualMachine) -> None:
        created, scheduled = vm.metadata.creation_timestamp, vm.status.condition(CONDITION_SCHEDULED)
        bound: datetime | None = scheduled.last_transition_time if scheduled is not None else None
        if created is not None and bound is not None:
            self._figures.stage(Stage.CREATED_TO_BOUND, max(0.0, (bound - created).total_seconds()))


def _is_new(vm: VirtualMachine) -> bool:
    """Whether nothing has been done about the VM: no agent has answered a claim of it."""
    status = vm.status
    return status.admitted_claim is None and status.stopped_claim is None and status.started_at is None


def _why_again(before: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    if status.get("restartedAt") != before.get("restartedAt"):
        return RESTART_REQUESTED
    if before.get("endReason"):
        return str(before["endReason"])
    return "NodeRebooted" if status.get("nodeBootID") != before.get("nodeBootID") else "Unknown"


def _is_ready(status: Mapping[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))
