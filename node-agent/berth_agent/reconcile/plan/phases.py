"""The VM in one word."""

from berth_agent.reconcile.plan.desired import Goal
from berth_agent.reconcile.plan.observed import Power
from berth_agent.reconcile.plan.situations import Situation
from berth_api.virtualmachines import Phase


def phase_of(situation: Situation) -> Phase:
    """The phase: the first that fits."""
    if situation.desired.goal in (Goal.REMOVE, Goal.PURGE):
        return "Terminating"
    return _while_it_runs(situation) if situation.observed.power.is_active else _while_it_is_off(situation)


def _while_it_runs(situation: Situation) -> Phase:
    if situation.desired.goal.is_stopping or situation.observed.power is Power.STOPPING:
        return "Stopping"
    return "Paused" if situation.observed.power is Power.PAUSED else "Running"


def _while_it_is_off(situation: Situation) -> Phase:
    failure = situation.failure
    if situation.desired.goal is Goal.STOP or situation.answers.stopped:
        return "Stopped"
    if failure is not None and not failure.retryable:
        return "Failed"
    if situation.waits:
        return "CrashLoopBackOff"
    return "Starting" if situation.answers.admitted else "Scheduled"
