"""A probe's verdicts are the kubelet's, whatever the answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_agent.guests.probing import MAX_WHY, Answer, Health, Outcome, ProbeKind, after, begin, first_delay, next_due
from berth_api.probes import Probe

SUCCESS, FAILURE, UNKNOWN = (Answer(outcome, "no answer") for outcome in Outcome)
OUTCOMES = st.lists(st.sampled_from([SUCCESS, FAILURE, UNKNOWN]), max_size=60)


def follow(kind: ProbeKind, probe: Probe, *answers: Answer) -> Health:
    health = begin(kind)
    for answer in answers:
        health = after(health, probe, answer)
    return health


def reference(kind: ProbeKind, probe: Probe, answers: list[Answer]) -> bool:
    """The same, the long way: look for runs in the history."""
    passing, history = kind is ProbeKind.LIVENESS, ""
    for answer in answers:
        if answer.outcome is Outcome.UNKNOWN:
            continue
        history += "s" if answer.outcome is Outcome.SUCCESS else "f"
        if history.endswith("f" * probe.failure_threshold):
            passing = False
            if kind is ProbeKind.LIVENESS:
                return False
        if history.endswith("s" * probe.success_threshold):
            passing = True
    return passing


@given(OUTCOMES, st.integers(1, 5), st.integers(1, 5))
def test_readiness_is_decided_by_the_last_long_enough_run(answers: list[Answer], success: int, failure: int) -> None:
    probe = Probe(success_threshold=success, failure_threshold=failure)
    assert follow(ProbeKind.READINESS, probe, *answers).passing is reference(ProbeKind.READINESS, probe, answers)


@given(OUTCOMES, st.integers(1, 5))
def test_liveness_ends_with_the_first_long_enough_run_of_failures(answers: list[Answer], failure: int) -> None:
    probe = Probe(failure_threshold=failure)
    assert follow(ProbeKind.LIVENESS, probe, *answers).passing is reference(ProbeKind.LIVENESS, probe, answers)


@given(OUTCOMES)
def test_a_reason_is_there_exactly_while_a_verdict_is_not_passing(answers: list[Answer]) -> None:
    for kind in ProbeKind:
        health = follow(kind, Probe(), *answers)
        assert bool(health.why) is not health.passing


def test_a_guest_lives_and_is_not_ready_before_anything_was_asked() -> None:
    assert begin(ProbeKind.LIVENESS).passing
    assert not begin(ProbeKind.READINESS).passing
    assert begin(ProbeKind.READINESS, was_ready=True).passing


def test_what_could_not_be_asked_neither_counts_nor_breaks_a_run() -> None:
    health = follow(ProbeKind.LIVENESS, Probe(), FAILURE, FAILURE, *[UNKNOWN] * 9)
    assert health.passing
    assert not after(health, Probe(), FAILURE).passing


def test_the_reason_stays_as_it_was_when_the_verdict_fell() -> None:
    probe = Probe(failure_threshold=1)
    health = follow(ProbeKind.READINESS, probe, SUCCESS, Answer(Outcome.FAILURE, "connection refused"))
    assert health.why == "the readiness probe failed: connection refused"
    assert after(health, probe, Answer(Outcome.FAILURE, "something else")).why == health.why


def test_a_guest_that_could_never_be_asked_is_told_why() -> None:
    unknown = Answer(Outcome.UNKNOWN, "no NIC of the VM has an address on this node")
    health = after(begin(ProbeKind.READINESS), Probe(), unknown)
    assert health.why == f"the readiness probe has not succeeded yet: {unknown.why}"
    assert after(after(health, Probe(), SUCCESS), Probe(), unknown).why == ""


def test_a_reason_is_cut_short() -> None:
    health = follow(ProbeKind.LIVENESS, Probe(failure_threshold=1), Answer(Outcome.FAILURE, "x" * 9999))
    assert len(health.why) == MAX_WHY


@pytest.mark.parametrize(
    ("initial", "running", "share", "expected"),
    [
        (0, 0, 0.9, 0),
        (30, 0, 0.9, 30),
        (30, 12, 0.9, 18),
        (30, 30, 0.9, 0),
        (30, 39, 0.9, 0),
        (30, 41, 0.9, 9),
        (0, 86_400, 0.25, 2.5),
        (30, -5, 0.9, 30),
    ],
    ids=["at once", "delayed", "partly waited", "just due", "due", "found", "found long after", "clock set back"],
)
def test_the_first_question_comes_after_the_initial_delay(
    initial: int, running: float, share: float, expected: float
) -> None:
    assert first_delay(Probe(initial_delay_seconds=initial), running, share) == pytest.approx(expected)


def test_a_question_that_took_longer_than_the_period_is_followed_by_the_next_at_once() -> None:
    assert next_due(due=100, now=103, period=10) == 110
    assert next_due(due=100, now=125, period=10) == 125
