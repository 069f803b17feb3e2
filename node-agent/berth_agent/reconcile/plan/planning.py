"""plan(desired, observed): the steps that lead from what is to what should be.

Pure and total: every pair has a plan, and the plan for what its own steps lead to is empty. Order matters where a step
needs what another made: disks before the domain, the sandbox before the tap's address is known, everything down before
the claim is released.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from berth_agent.reconcile.plan.desired import Desired, Goal
from berth_agent.reconcile.plan.differences import can_plug_cpus, can_plug_memory, holds_memory
from berth_agent.reconcile.plan.histories import HEALTHY_AFTER
from berth_agent.reconcile.plan.observed import Observed, Power
from berth_agent.reconcile.plan.steps import (
    AdmitClaim,
    AdoptGuest,
    AttachInterface,
    CreateDisk,
    DefineDomain,
    DeleteDisks,
    DeleteSeed,
    DestroyDomain,
    DetachInterface,
    PlugCPUs,
    PlugMemory,
    ReleaseClaim,
    ResumeDomain,
    ShutdownDomain,
    StartDomain,
    Step,
    SuspendDomain,
    UndefineDomain,
    WriteSeed,
    YieldClaim,
)

POWER_BUTTON_INTERVAL = timedelta(seconds=5)
"""How often a guest that should stop is told so again."""


MEMORY_INTERVAL = timedelta(seconds=15)
"""How often a guest that should give memory back is looked at."""


@dataclass(frozen=True)
class Plan:
    """Steps to take in order, and when to look again if nothing happens before."""

    steps: tuple[Step, ...] = ()
    look_again_after: timedelta | None = None


def plan(desired: Desired, observed: Observed, now: datetime) -> Plan:
    """The steps from `observed` to `desired`. What is to be adopted is, before anything else is planned for it."""
    if observed.to_adopt and desired.goal is not Goal.PURGE:
        return Plan((AdoptGuest(),), look_again_after=timedelta())
    match desired.goal:
        case Goal.RUN | Goal.PAUSE:
            return _run(desired, observed, now)
        case Goal.RESTART:
            return _stop(desired, observed, now)
        case Goal.STOP:
            return _rest(desired, observed, now)
        case Goal.REMOVE:
            return _remove(desired, observed, now)
        case Goal.PURGE:
            alive = observed.power.is_active or observed.power is Power.CRASHED
            return Plan((*((DestroyDomain(),) if alive else ()), *_take_down(observed)))


def _rest(desired: Desired, observed: Observed, now: datetime) -> Plan:
    """Stop, and say once it is off that CPU and memory are free."""
    stopping = _stop(desired, observed, now)
    if observed.power.is_active or desired.yielded:
        return stopping
    return Plan((*stopping.steps, YieldClaim()))


def _remove(desired: Desired, observed: Observed, now: datetime) -> Plan:
    stopping = _stop(desired, observed, now)
    if observed.power.is_active and DestroyDomain() not in stopping.steps:
        return stopping
    return Plan((*stopping.steps, *_take_down(observed), ReleaseClaim()))


def _run(desired: Desired, observed: Observed, now: datetime) -> Plan:
    paused = desired.goal is Goal.PAUSE
    if observed.power.is_active:
        return _keep(desired, observed, now, paused=paused)
    dead: tuple[Step, ...] = (DestroyDomain(),) if observed.power is Power.CRASHED else ()
    if desired.start_at is not None and desired.waits(now):
        return Plan(dead, look_again_after=desired.start_at - now)
    disks = (CreateDisk(name) for name in desired.disk_names if name not in observed.disks)
    nics = (AttachInterface(name) for name in desired.interface_names)  # an intact one stays, and says what it is
    stale = (DetachInterface(name) for name in observed.interfaces if name not in desired.interface_names)
    made = (*disks, *stale, *nics, WriteSeed(), DefineDomain(), StartDomain(paused=paused))
    return Plan((AdmitClaim(), *dead, *made))


def _keep(desired: Desired, observed: Observed, now: datetime, *, paused: bool) -> Plan:
    """What a running guest needs: its claim answered, its NICs whole, its hardware as it can be while it runs."""
    calm = _pause_or_resume(observed.power, paused=paused)
    if not desired.admitted:  # what a new claim gives is for the next look
        return Plan((*calm, AdmitClaim(), *_repairs(desired, observed)), look_again_after=timedelta())
    steps = (*_repairs(desired, observed), *_plug(desired, observed), *calm)
    if desired.hardware is not None and desired.hardware.covered and holds_memory(desired.hardware, observed):
        return Plan(steps, look_again_after=MEMORY_INTERVAL)
    well_at = observed.started_at + HEALTHY_AFTER if observed.started_at is not None else now
    return Plan(
        steps,
        look_again_after=well_at - now if desired.failing and well_at > now else None,
    )


def _plug(desired: Desired, observed: Observed) -> Iterator[Step]:
    wanted = desired.hardware
    if wanted is None or not wanted.covered or observed.power is not Power.RUNNING:
        return
    if can_plug_cpus(wanted, observed):
        yield PlugCPUs(wanted.cpus)
    if can_plug_memory(wanted, observed):
        yield PlugMemory(wanted.memory)


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
    ask = ShutdownDomain(by_agent=observed.guest_agent_connected and desired.asked_at is None)
    return Plan((*wake, ask), look_again_after=min(remaining, POWER_BUTTON_INTERVAL))


def _take_down(observed: Observed) -> tuple[Step, ...]:
    undefine: tuple[Step, ...] = () if observed.power is Power.ABSENT else (UndefineDomain(),)
    detach = (DetachInterface(name) for name in sorted(observed.interfaces))
    seed: tuple[Step, ...] = (DeleteSeed(),) if observed.has_seed else ()
    return (*undefine, *detach, *seed, DeleteDisks())


def _intact(observed: Observed, name: str) -> bool:
    interface = observed.interfaces.get(name)
    return interface is not None and interface.intact
