"""plan(desired, observed): the steps that lead from what is to what should be.

Pure and total: every pair has a plan, and the plan for what its own steps lead to is empty. Order matters where a step
needs what another made: disks before the domain, the sandbox before the tap's address is known, everything down before
the claim is released.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from berth_agent.reconcile.plan.desired import Desired, Goal
from berth_agent.reconcile.plan.observed import Observed, Power
from berth_agent.reconcile.plan.steps import (
    AdmitClaim,
    AttachInterface,
    CreateDisk,
    DefineDomain,
    DeleteDisks,
    DeleteSeed,
    DestroyDomain,
    DetachInterface,
    ReleaseClaim,
    ResumeDomain,
    ShutdownDomain,
    StartDomain,
    Step,
    SuspendDomain,
    UndefineDomain,
    WriteSeed,
)

POWER_BUTTON_INTERVAL = timedelta(seconds=5)
"""How often a guest that should stop is told so again."""


RESTART_DISTANCE = timedelta(seconds=10)
"""From one start of a guest to the next: one that powers off as soon as it boots must not keep the node busy."""


@dataclass(frozen=True)
class Plan:
    """Steps to take in order, and when to look again if nothing happens before."""

    steps: tuple[Step, ...] = ()
    look_again_after: timedelta | None = None


def plan(desired: Desired, observed: Observed, now: datetime) -> Plan:
    """The steps from `observed` to `desired`."""
    match desired.goal:
        case Goal.RUN | Goal.PAUSE:
            pause = _pause_before_start(desired, observed, now)
            return Plan(look_again_after=pause) if pause else Plan(_run(desired, observed))
        case Goal.STOP:
            return _stop(desired, observed, now)
        case Goal.REMOVE:
            stopping = _stop(desired, observed, now)
            if observed.power.is_active and DestroyDomain() not in stopping.steps:
                return stopping
            return Plan((*stopping.steps, *_take_down(observed), ReleaseClaim()))
        case Goal.PURGE:
            alive = observed.power.is_active or observed.power is Power.CRASHED
            return Plan((*((DestroyDomain(),) if alive else ()), *_take_down(observed)))


def _pause_before_start(desired: Desired, observed: Observed, now: datetime) -> timedelta | None:
    """What is left of the distance to the last start. A start in the future was dated by a clock that was wrong."""
    if observed.power.is_active or desired.started_at is None:
        return None
    since = now - desired.started_at
    return RESTART_DISTANCE - since if timedelta() <= since < RESTART_DISTANCE else None


def _run(desired: Desired, observed: Observed) -> tuple[Step, ...]:
    paused = desired.goal is Goal.PAUSE
    admit: tuple[Step, ...] = () if desired.admitted and observed.power.is_active else (AdmitClaim(),)
    if observed.power.is_active:
        return (*admit, *_repairs(desired, observed), *_pause_or_resume(observed.power, paused=paused))
    disks = (CreateDisk(name) for name in desired.disk_names if name not in observed.disks)
    nics = (AttachInterface(name) for name in desired.interface_names)  # an intact one stays, and says what it is
    stale = (DetachInterface(name) for name in observed.interfaces if name not in desired.interface_names)
    dead: tuple[Step, ...] = (DestroyDomain(),) if observed.power is Power.CRASHED else ()
    return (*admit, *dead, *disks, *stale, *nics, WriteSeed(), DefineDomain(), StartDomain(paused=paused))


def _repairs(desired: Desired, observed: Observed) -> tuple[Step, ...]:
    broken = (name for name in desired.interface_names if name in observed.interfaces and not _intact(observed, name))
    return tuple(AttachInterface(name) for name in broken)


def _pause_or_resume(power: Power, *, paused: bool) -> tuple[Step, ...]:
    if paused and power is Power.RUNNING:
        return (SuspendDomain(),)
    if not paused and power is Power.PAUSED:
        return (ResumeDomain(),)
    return ()


def _stop(desired: Desired, observed: Observed, now: datetime) -> Plan:
    if observed.power is Power.CRASHED:
        return Plan((DestroyDomain(),))
    if not observed.power.is_active:
        return Plan()
    if desired.destroy_at is not None and now >= desired.destroy_at:
        return Plan((DestroyDomain(),))
    remaining = desired.destroy_at - now if desired.destroy_at is not None else POWER_BUTTON_INTERVAL
    since = now - desired.asked_at if desired.asked_at is not None else POWER_BUTTON_INTERVAL
    if timedelta() <= since < POWER_BUTTON_INTERVAL:
        return Plan(look_again_after=min(remaining, POWER_BUTTON_INTERVAL - since))
    wake: tuple[Step, ...] = (ResumeDomain(),) if observed.power is Power.PAUSED else ()
    return Plan((*wake, ShutdownDomain()), look_again_after=min(remaining, POWER_BUTTON_INTERVAL))


def _take_down(observed: Observed) -> tuple[Step, ...]:
    undefine: tuple[Step, ...] = () if observed.power is Power.ABSENT else (UndefineDomain(),)
    detach = (DetachInterface(name) for name in sorted(observed.interfaces))
    seed: tuple[Step, ...] = (DeleteSeed(),) if observed.has_seed else ()
    return (*undefine, *detach, *seed, DeleteDisks())


def _intact(observed: Observed, name: str) -> bool:
    interface = observed.interfaces.get(name)
    return interface is not None and interface.intact
