"""One probe as a state machine: from answers and times to a verdict. Pure.

The kubelet's rules (core/v1 Probe; its prober's worker), with its two asymmetries: a guest lives until it has failed
often enough, and is ready only from its first success on. A failed liveness probe is final for that run of the guest:
were it asked on, an answer in the middle of the restart could take the verdict back.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from berth_api.probes import Probe

MAX_WHY = 256
"""Characters of a reason that are kept: it ends up in a condition's message."""
_NOT_YET = "the readiness probe has not succeeded yet"


class ProbeKind(StrEnum):
    """What a probe decides."""

    LIVENESS = "liveness"
    READINESS = "readiness"


class Outcome(StrEnum):
    """What became of one question."""

    SUCCESS = "Success"
    FAILURE = "Failure"
    UNKNOWN = "Unknown"
    """The question could not be asked, which says nothing of the guest: libvirtd was away, the tap is not there."""


@dataclass(frozen=True)
class Answer:
    """One question's outcome."""

    outcome: Outcome
    why: str = ""
    """What went wrong, for people."""


@dataclass(frozen=True)
class Health:
    """A probe's verdict, and what led to it.

    Attributes:
        passing: the verdict.
        why: the reason of a verdict that is not passing, as of when it fell: a constant one, so that a message made of
            it changes only when the verdict does.
        last: outcome of the last question that could be asked.
        run: how many such outcomes came in a row.
    """

    kind: ProbeKind
    passing: bool
    why: str = ""
    last: Outcome | None = None
    run: int = 0

    @property
    def final(self) -> bool:
        """Nothing is asked any more until the guest is started again."""
        return self.kind is ProbeKind.LIVENESS and not self.passing


def begin(kind: ProbeKind, *, was_ready: bool = False) -> Health:
    """The verdict before the first answer.

    Args:
        kind: what the probe decides.
        was_ready: this run of the guest was ready already when the agent, or the probe, began.
    """
    if kind is ProbeKind.LIVENESS or was_ready:
        return Health(kind, passing=True)
    return Health(kind, passing=False, why=_NOT_YET)


def after(health: Health, probe: Probe, answer: Answer) -> Health:
    """The verdict after one more answer.

    Args:
        health: the verdict so far.
        probe: whose thresholds count.
        answer: what became of the question.
    """
    if health.final:
        return health
    if answer.outcome is Outcome.UNKNOWN:
        never_asked = health.last is None and not health.passing
        return replace(health, why=f"{_NOT_YET}: {answer.why}"[:MAX_WHY]) if never_asked else health
    run = health.run + 1 if answer.outcome is health.last else 1
    passing = answer.outcome is Outcome.SUCCESS
    threshold = probe.success_threshold if passing else probe.failure_threshold
    run = min(run, threshold)
    counted = replace(health, last=answer.outcome, run=run)
    if run < threshold or passing == health.passing:
        return counted
    why = "" if passing else f"the {health.kind} probe failed: {answer.why}"[:MAX_WHY]
    return replace(counted, passing=passing, why=why)


def first_delay(probe: Probe, running: float, share: float) -> float:
    """Seconds to wait before the first question.

    A guest that is well past its initial delay was found, not started: those of a node are found all at once, by an
    agent that has just come up, and are spread over a period so that they are not all asked at once ever after.

    Args:
        probe: its initial delay and period.
        running: seconds since the guest's start; below 0 where the clock was set back.
        share: of a period, from 0 to 1: the jitter.
    """
    waited = running - probe.initial_delay_seconds
    if waited > probe.period_seconds:
        return probe.period_seconds * share
    return max(0.0, probe.initial_delay_seconds - max(0.0, running))


def next_due(due: float, now: float, period: float) -> float:
    """When to ask next: a period after the last question was due, and at once where that has passed already."""
    return max(due + period, now)
