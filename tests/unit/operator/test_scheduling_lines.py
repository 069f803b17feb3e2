"""VMs of one shape in a line: what one rejection says of others, what wakes them, and how often."""

import pytest
from tests.unit.operator.queues import FULL, NOBODY, Queue, entry, parked, popped

from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.lines import Verdict
from berth_operator.scheduling.parking import Pace


def test_180_of_one_shape_cost_one_decision() -> None:
    queue = Queue()
    for number in range(180):
        queue.add(entry(f"vm-{number:03}", created=number), 0.0)
    decisions = 0
    while (one := queue.pop(0.0)) is not None:
        if queue.join(one.key, "shape", 0.0) is None:
            decisions += 1
            queue.park(one.key, "shape", FULL, 0.0)
    assert (decisions, queue.parked("shape"), queue.shapes) == (1, 180, 1)


def test_a_rejection_holds_for_those_behind_it_only() -> None:
    queue = Queue()
    parked(queue, entry("middle", created=5.0))
    queue.add(entry("younger", created=6.0), 0.0)
    queue.add(entry("older", created=4.0), 0.0)
    assert popped(queue) == ["older", "younger"]
    assert queue.join(("default", "older"), "shape", 0.0) is None
    assert queue.join(("default", "younger"), "shape", 0.0) == FULL


def test_a_rejection_outlives_the_vm_that_suffered_it() -> None:
    queue = Queue()
    parked(queue, entry("first", created=1.0), entry("second", created=2.0))
    queue.remove(("default", "first"), 0.0)
    queue.add(entry("between", created=1.5), 0.0)
    queue.pop(0.0)
    assert queue.join(("default", "between"), "shape", 0.0) == FULL


def test_a_rejection_is_not_reused_after_what_could_cure_it() -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0))
    queue.pop(0.0)
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 1.0) == ["a"]
    queue.add(entry("older", created=0.0), 1.0)
    queue.pop(1.0)
    assert queue.join(("default", "older"), "shape", 1.0) is None


def test_a_newcomer_does_not_overtake_those_of_its_shape_that_an_event_is_about_to_help() -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0))
    queue.add(entry("new", created=2.0), 0.0)
    queue.pop(0.0)
    queue.happened(Cure.CLAIM_FREED)
    assert queue.join(("default", "new"), "shape", 0.0) == FULL
    assert popped(queue, 1.0) == ["a"]


def test_only_an_event_that_could_cure_wakes_and_only_the_head() -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0), entry("b", created=2.0))
    queue.happened(Cure.NODE_CHANGED)
    assert popped(queue, 1.0) == []
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 1.0) == ["a"]


def test_n_freed_berths_take_n_with_n_plus_one_decisions() -> None:
    queue = Queue()
    parked(queue, *(entry(f"vm-{number}", created=number) for number in range(10)))
    queue.happened(Cure.CLAIM_FREED)
    free, bound, decisions = 3, [], 0
    while (one := queue.pop(1.0)) is not None:
        assert queue.join(one.key, "shape", 1.0) is None
        decisions += 1
        if free:
            free -= 1
            bound.append(one.key[1])
            queue.placed(one.key, "shape", 1.0)
        else:
            queue.park(one.key, "shape", FULL, 1.0)
    assert (bound, decisions, queue.parked("shape")) == (["vm-0", "vm-1", "vm-2"], 4, 7)


def test_a_newcomer_that_is_placed_wakes_its_like() -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0))
    queue.add(entry("older", created=0.5), 0.0)
    queue.pop(0.0)
    queue.placed(("default", "older"), "shape", 0.0)
    assert popped(queue) == ["a"]


@pytest.mark.parametrize("ending", ["removed", "error", "other shape", "changed"])
def test_a_trial_that_ends_without_a_verdict_passes_to_the_next_of_the_line(ending: str) -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0), entry("b", created=2.0))
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 1.0) == ["a"]
    key = ("default", "a")
    if ending == "removed":
        queue.remove(key, 1.0)
        queue.done(key, 1.0)
    elif ending == "error":
        queue.back_off(key, 60.0, 1.0)
    elif ending == "other shape":
        queue.park(key, "other", FULL, 1.0)
    else:
        queue.add(entry("a", created=3.0, revision=2), 1.0)
        queue.park(key, "shape", FULL, 1.0)
    assert popped(queue, 1.0)[0] == "b"


def test_an_event_between_decision_and_parking_counts_as_after_it() -> None:
    queue = Queue()
    queue.add(entry("a"), 0.0)
    queue.pop(0.0)
    assert queue.join(("default", "a"), "shape", 0.0) is None
    queue.happened(Cure.CLAIM_FREED)
    queue.park(("default", "a"), "shape", FULL, 0.0)
    assert popped(queue, 1.0) == ["a"]


def test_an_event_before_the_decision_counts_as_seen() -> None:
    queue = Queue()
    queue.add(entry("a"), 0.0)
    queue.pop(0.0)
    queue.happened(Cure.CLAIM_FREED)
    assert queue.join(("default", "a"), "shape", 0.0) is None
    queue.park(("default", "a"), "shape", FULL, 0.0)
    assert popped(queue, 1.0) == []


def test_a_stirred_head_competes_with_newcomers_by_the_same_order() -> None:
    queue = Queue()
    parked(queue, entry("parked-urgent", priority=5, created=9.0), shape="x")
    parked(queue, entry("parked-plain", created=2.0), shape="y")
    queue.happened(Cure.CLAIM_FREED)
    queue.add(entry("new-urgent", priority=5, created=10.0), 1.0)
    queue.add(entry("new-plain", created=1.0), 1.0)
    assert popped(queue, 1.0) == ["parked-urgent", "new-urgent", "new-plain", "parked-plain"]


def test_a_head_that_fails_again_keeps_its_age() -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0), entry("b", created=2.0))
    for now in (1.0, 2.0, 3.0):
        queue.happened(Cure.CLAIM_FREED)
        assert popped(queue, now) == ["a"]
        queue.park(("default", "a"), "shape", FULL, now)


def test_a_line_that_events_pursue_pauses_between_its_trials_but_no_event_is_lost() -> None:
    queue = Queue(Pace(pause=0.05))
    parked(queue, entry("a"))
    queue.untold(0.0)
    for trial in range(1, 4):
        for step in range(1, 5):
            queue.happened(Cure.CLAIM_FREED)
            assert popped(queue, 0.05 * (trial - 1) + step / 100) == []
            assert queue.next_time(0.0) == pytest.approx(0.05 * trial)
        assert popped(queue, 0.05 * trial) == ["a"]
        queue.park(("default", "a"), "shape", FULL, 0.05 * trial)
    assert popped(queue, 10.0) == []


def test_an_event_after_the_pause_is_answered_at_once() -> None:
    queue = Queue(Pace(pause=0.05))
    parked(queue, entry("a"))
    for now in (0.06, 0.12, 0.18):
        queue.happened(Cure.CLAIM_FREED)
        assert popped(queue, now) == ["a"]
        queue.park(("default", "a"), "shape", FULL, now)


def test_many_lines_share_a_bounded_number_of_trials() -> None:
    queue = Queue(Pace(trials=100.0))
    for number in range(200):
        parked(queue, entry(f"vm-{number}"), shape=str(number))
    trials: dict[str, int] = {}
    for tick in range(1000):
        queue.happened(Cure.CLAIM_FREED)
        while (one := queue.pop(tick / 50)) is not None:
            name = one.key[1].removeprefix("vm-")
            trials[name] = trials.get(name, 0) + 1
            queue.park(one.key, name, FULL, tick / 50)
    assert 1500 <= sum(trials.values()) <= 2000
    assert max(trials.values()) - min(trials.values()) <= 1


def test_what_nothing_cures_is_tried_anyway_and_not_all_at_once() -> None:
    queue = Queue(Pace(retry=300.0))
    for number in range(100):
        parked(queue, entry(f"vm-{number}"), shape=str(number), verdict=NOBODY)
    assert popped(queue, 299.9) == []
    rounds = [len(popped(queue, 300.0 + 75.0 * step / 10)) for step in range(11)]
    assert sum(rounds) == 100
    assert max(rounds) <= 15


def test_a_trial_that_turns_out_needless_passes_to_the_next_of_the_line() -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0), entry("b", created=2.0))
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 1.0) == ["a"]
    queue.done(("default", "a"), 1.0)
    assert popped(queue, 1.0) == ["b"]


@pytest.mark.parametrize("doubt", ["event", "placed"])
def test_a_rejection_in_doubt_is_not_reused_though_those_behind_still_wait(doubt: str) -> None:
    queue = Queue()
    parked(queue, entry("first", created=1.0), entry("last", created=3.0))
    queue.remove(("default", "first"), 0.0)
    queue.add(entry("zero", created=0.0), 0.0)
    queue.add(entry("between", created=2.0), 0.0)
    assert popped(queue) == ["zero", "between"]
    if doubt == "event":
        queue.happened(Cure.CLAIM_FREED)
    else:
        queue.placed(("default", "zero"), "shape", 0.0)
    assert queue.join(("default", "between"), "shape", 0.0) is None


def with_a_trial_and_a_better_one(queue: Queue) -> None:
    """Line: b. Being tried for it: a. Rejected meanwhile, although it comes before both: older."""
    parked(queue, entry("a", created=1.0), entry("b", created=2.0))
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 1.0) == ["a"]
    queue.add(entry("older", created=0.0), 1.0)
    assert popped(queue, 1.0) == ["older"]
    assert queue.join(("default", "older"), "shape", 1.0) is None
    queue.park(("default", "older"), "shape", FULL, 1.0)


def test_no_two_are_tried_for_one_line() -> None:
    queue = Queue()
    with_a_trial_and_a_better_one(queue)
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 2.0) == []
    queue.add(entry("oldest", created=-1.0), 2.0)
    assert popped(queue, 2.0) == ["oldest"]
    queue.placed(("default", "oldest"), "shape", 2.0)
    assert popped(queue, 1000.0) == []
    queue.back_off(("default", "a"), 1e6, 1000.0)
    assert popped(queue, 1000.0) == ["older"]


def test_a_trial_behind_a_better_one_leaves_the_trial_to_it() -> None:
    queue = Queue()
    with_a_trial_and_a_better_one(queue)
    assert queue.join(("default", "a"), "shape", 1.0) == FULL
    assert popped(queue, 1.0) == ["older"]


def test_the_rejection_of_one_behind_says_nothing_about_the_head() -> None:
    queue = Queue()
    queue.add(entry("head", created=1.0), 0.0)
    queue.add(entry("behind", created=2.0), 0.0)
    assert popped(queue) == ["head", "behind"]
    assert queue.join(("default", "head"), "shape", 0.0) is None
    queue.happened(Cure.CLAIM_FREED)
    assert queue.join(("default", "behind"), "shape", 0.0) is None
    queue.park(("default", "head"), "shape", FULL, 0.0)
    queue.park(("default", "behind"), "shape", FULL, 0.0)
    assert popped(queue, 1.0) == ["head"]


def test_a_line_competes_by_the_head_that_it_has_now() -> None:
    queue = Queue()
    parked(queue, entry("x1", created=1.0), entry("x5", created=5.0), shape="x")
    parked(queue, entry("y3", created=3.0), entry("y4", created=4.0), shape="y")
    queue.remove(("default", "x1"), 0.0)
    queue.add(entry("x2", created=2.0), 0.0)
    queue.add(entry("x0", created=0.0), 0.0)
    assert popped(queue) == ["x0", "x2"]
    assert queue.join(("default", "x2"), "x", 0.0) == FULL
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 1.0) == ["x2", "y3"]
    queue.placed(("default", "x2"), "x", 1.0)
    queue.placed(("default", "y3"), "y", 1.0)
    queue.remove(("default", "y4"), 1.0)
    assert popped(queue, 1.0) == ["x5"]


@pytest.mark.parametrize("ready_by", ["event", "placed"])
def test_a_line_whose_head_left_stands_where_its_next_does(ready_by: str) -> None:
    queue = Queue()
    parked(queue, entry("x1", created=1.0), entry("x3", created=3.0), shape="x")
    parked(queue, entry("y2", created=2.0), shape="y")
    queue.add(entry("x0", created=0.0), 0.0)
    queue.add(entry("y0", created=0.0), 0.0)
    assert popped(queue) == ["x0", "y0"]
    if ready_by == "placed":
        queue.placed(("default", "x0"), "x", 0.0)
        queue.placed(("default", "y0"), "y", 0.0)
    queue.remove(("default", "x1"), 0.0)
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 1.0) == ["y2", "x3"]


def test_a_line_whose_causes_changed_leaves_nothing_behind() -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0))
    parked(queue, entry("other", created=9.0), shape="other")
    parked(queue, entry("older", created=0.0), verdict=Verdict(frozenset({Cure.NODE_CHANGED}), "no node"))
    queue.remove(("default", "a"), 0.0)
    queue.remove(("default", "older"), 0.0)
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 1.0) == ["other"]


def test_an_event_before_parking_is_not_lost_though_others_are_decided_meanwhile() -> None:
    queue = Queue()
    queue.add(entry("a"), 0.0)
    queue.pop(0.0)
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue) == []
    queue.park(("default", "a"), "shape", FULL, 0.0)
    assert popped(queue, 1.0) == ["a"]


def test_a_line_is_left_alone_by_time_while_its_head_is_tried() -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0), entry("b", created=2.0))
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 1.0) == ["a"]
    assert popped(queue, 10_000.0) == []


def test_a_line_outlives_its_members_while_its_head_is_tried() -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0), entry("b", created=2.0))
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 1.0) == ["a"]
    queue.remove(("default", "b"), 1.0)
    queue.park(("default", "a"), "shape", FULL, 1.0)
    assert (queue.parked("shape"), queue.shapes) == (1, 1)
    queue.remove(("default", "a"), 1.0)
    assert queue.shapes == 0
    assert queue.verdict("shape") is None


def test_something_that_happened_is_to_be_looked_at_now() -> None:
    queue = Queue()
    parked(queue, entry("a"))
    queue.untold(1.0)
    assert queue.next_time(1.0) != 1.0
    queue.happened(Cure.CLAIM_FREED)
    assert queue.next_time(1.0) == 1.0
