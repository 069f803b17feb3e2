"""What the object asks of this node, reduced to what a plan needs."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from berth_agent.reconcile.plan.observed import Observed
from berth_api.virtualmachines import VirtualMachine


class Goal(StrEnum):
    """The state to bring the VM to."""

    RUN = "Run"
    PAUSE = "Pause"
    STOP = "Stop"
    REMOVE = "Remove"
    """The object is being deleted: stop gracefully, take all down, release the claim."""
    PURGE = "Purge"
    """The object is gone, or bound elsewhere: take down at once what is still here."""


@dataclass(frozen=True)
class Desired:
    """What the object asks of this node."""

    goal: Goal
    admitted: bool = False
    disk_names: tuple[str, ...] = ()
    interface_names: tuple[str, ...] = ()
    destroy_at: datetime | None = None
    """When a graceful stop is over; None: the grace has not begun, or there is none."""
    asked_at: datetime | None = None
    """When the guest was last asked to stop."""

    @classmethod
    def purge(cls) -> Self:
        """Nothing of the VM belongs on this node."""
        return cls(goal=Goal.PURGE)

    started_at: datetime | None = None
    """When a guest was last started; the next start keeps a distance from it."""

    def stopping(self, *, destroy_at: datetime | None, asked_at: datetime | None) -> Self:
        """The same, with an end to its grace and the time of the last request."""
        return replace(self, destroy_at=destroy_at, asked_at=asked_at)


def desired_of(vm: VirtualMachine, observed: Observed) -> Desired:
    """Read an object that is bound to this node.

    Whether a guest that is off runs again is the run strategy's: Always does, RerunOnFailure does unless the guest
    shut itself down, Once does not.
    """
    claim = vm.status.claim
    admitted = claim is not None and vm.status.admitted_claim == claim.id
    names = tuple(disk.name for disk in vm.spec.disks), tuple(nic.name for nic in vm.spec.interfaces)
    deleted_at = vm.metadata.deletion_timestamp
    if deleted_at is not None:
        grace = timedelta(seconds=vm.spec.termination_grace_period_seconds)
        return Desired(Goal.REMOVE, admitted, *names, destroy_at=deleted_at + grace)
    return Desired(_goal(vm, observed), admitted, *names, started_at=vm.status.started_at)


def _goal(vm: VirtualMachine, observed: Observed) -> Goal:
    if vm.spec.run_strategy == "Halted":
        return Goal.STOP
    if not observed.power.is_active and vm.status.started_at is not None:
        if vm.spec.run_strategy == "Once":
            return Goal.STOP
        if vm.spec.run_strategy == "RerunOnFailure" and not observed.failed:
            return Goal.STOP
    return Goal.PAUSE if vm.spec.paused else Goal.RUN
