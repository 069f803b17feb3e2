"""What the object asks of this node, reduced to what a plan needs."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from berth_agent.reconcile.plan.crashloops import next_start
from berth_agent.reconcile.plan.differences import Hardware
from berth_agent.reconcile.plan.observed import Observed
from berth_api.running import gave_back, restart_pending, should_run
from berth_api.virtualmachines import VirtualMachine


class Goal(StrEnum):
    """The state to bring the VM to."""

    RUN = "Run"
    PAUSE = "Pause"
    RESTART = "Restart"
    """A guest runs that should end, for another to be started."""
    STOP = "Stop"
    REMOVE = "Remove"
    """The object is being deleted: stop gracefully, take all down, release the claim."""
    PURGE = "Purge"
    """The object is gone, or bound elsewhere: take down at once what is still here."""

    @property
    def is_making(self) -> bool:
        """Whether its rounds make things, which may take long."""
        return self in (Goal.RUN, Goal.PAUSE)

    @property
    def is_stopping(self) -> bool:
        """Whether a running guest is brought to its end gracefully."""
        return self in (Goal.RESTART, Goal.STOP, Goal.REMOVE)


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
    yielded: bool = False
    """The claim's CPU and memory have been said to be free: a guest that runs all the same has to end."""
    start_at: datetime | None = None
    """When a guest that keeps ending may be started again."""
    failing: bool = False
    """Guests have ended soon after their start, and it is too early to say that this one is well."""
    hardware: Hardware | None = None
    """What the guest should have; None: that cannot be said now."""

    @classmethod
    def purge(cls) -> Self:
        """Nothing of the VM belongs on this node."""
        return cls(goal=Goal.PURGE)

    def waits(self, now: datetime) -> bool:
        """Whether a guest keeps ending, and it is too early to start it again."""
        return self.start_at is not None and now < self.start_at

    def stopping(self, *, destroy_at: datetime | None, asked_at: datetime | None) -> Self:
        """The same, with an end to its grace and the time of the last request."""
        return replace(self, destroy_at=destroy_at, asked_at=asked_at)


def desired_of(vm: VirtualMachine, observed: Observed, hardware: Hardware | None = None) -> Desired:
    """Read an object that is bound to this node.

    Args:
        vm: The object, with the record of its guests brought up to what is seen (`histories.brought_up`).
        observed: What is seen.
        hardware: What the spec asks for, where that can be said.
    """
    claim = vm.status.claim
    names = tuple(disk.name for disk in vm.spec.disks), tuple(nic.name for nic in vm.spec.interfaces)
    admitted = claim is not None and vm.status.admitted_claim == claim.id
    yielded = gave_back(vm)
    deleted_at = vm.metadata.deletion_timestamp
    if deleted_at is not None:
        grace = timedelta(seconds=vm.spec.termination_grace_period_seconds)
        return Desired(Goal.REMOVE, admitted, *names, destroy_at=deleted_at + grace, yielded=yielded)
    return Desired(
        _goal(vm, observed, hardware, yielded=yielded),
        admitted,
        *names,
        yielded=yielded,
        failing=bool(vm.status.failure_count),
        start_at=None if restart_pending(vm) else next_start(vm),
        hardware=hardware,
    )


def _goal(vm: VirtualMachine, observed: Observed, hardware: Hardware | None, *, yielded: bool) -> Goal:
    if yielded or not should_run(vm):
        return Goal.STOP
    if observed.power.is_active:
        if restart_pending(vm) and (hardware is None or hardware.covered):
            return Goal.RESTART
        if observed.live is False:
            return Goal.STOP if vm.spec.run_strategy == "Once" else Goal.RESTART
    return Goal.PAUSE if vm.spec.paused else Goal.RUN
