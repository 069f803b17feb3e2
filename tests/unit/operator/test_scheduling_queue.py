"""Whose turn it is: order, flights, pauses."""

import pytest
from tests.unit.operator.queues import FULL, Queue, entry, parked, popped

from berth_operator.scheduling.entries import State


def test_priority_comes_first_then_age_then_the_name() -> None:
    queue = Queue()
    for one in (
        entry("young", created=2.0),
        entry("old", created=1.0),
        entry("b-twin", created=1.5),
        entry("a-twin", created=1.5),
        entry("urgent", priority=10, created=9.0),
    ):
        queue.add(one, 0.0)
    assert popped(queue) == ["urgent", "old", "a-twin", "b-twin", "young"]


def test_a_vm_added_twice_is_there_once() -> None:
    queue = Queue()
    queue.add(entry("a"), 0.0)
    queue.add(entry("a"), 0.0)
    assert popped(queue) == ["a"]


def test_a_changed_priority_moves_a_waiting_vm() -> None:
    queue = Queue()
    queue.add(entry("a", created=1.0), 0.0)
    queue.add(entry("b", created=2.0), 0.0)
    queue.add(entry("b", created=2.0, priority=5), 0.0)
    assert popped(queue) == ["b", "a"]


def test_a_vm_in_flight_is_not_given_twice_and_comes_back_after_being_refused() -> None:
    queue = Queue()
    queue.add(entry("a"), 0.0)
    assert popped(queue) == ["a"]
    queue.add(entry("a"), 0.0)
    assert popped(queue) == []
    queue.done(("default", "a"), 0.0)
    assert popped(queue) == ["a"]
    queue.done(("default", "a"), 0.0)
    assert popped(queue) == []
    assert len(queue) == 0


def test_only_what_is_in_flight_can_be_settled() -> None:
    queue = Queue()
    queue.add(entry("a"), 0.0)
    with pytest.raises(LookupError, match="default/a is not in flight"):
        queue.done(("default", "a"), 0.0)


def test_a_vm_that_changed_during_its_flight_is_decided_anew_instead_of_parked() -> None:
    queue = Queue()
    queue.add(entry("a"), 0.0)
    queue.pop(0.0)
    queue.add(entry("a", revision=2), 0.0)
    queue.park(("default", "a"), "shape", FULL, 0.0)
    assert queue.pop(0.0) == entry("a", revision=2)


def test_an_unchanged_vm_seen_again_during_its_flight_is_parked() -> None:
    queue = Queue()
    queue.add(entry("a"), 0.0)
    queue.pop(0.0)
    queue.add(entry("a"), 0.0)
    queue.park(("default", "a"), "shape", FULL, 0.0)
    assert queue.state(("default", "a")) is State.PARKED


def test_the_echo_of_its_condition_does_not_bring_a_parked_vm_back_but_a_change_does() -> None:
    queue = Queue()
    parked(queue, entry("a"))
    queue.add(entry("a"), 0.0)
    assert popped(queue) == []
    queue.add(entry("a", revision=2), 0.0)
    assert popped(queue) == ["a"]


@pytest.mark.parametrize("settle", ["park", "join", "done", "back_off"])
def test_a_vm_removed_during_its_flight_is_forgotten_however_that_ends(settle: str) -> None:
    queue = Queue()
    parked(queue, entry("older", created=-1.0))
    queue.add(entry("a"), 0.0)
    queue.pop(0.0)
    queue.remove(("default", "a"), 0.0)
    if settle == "park":
        queue.park(("default", "a"), "other", FULL, 0.0)
    elif settle == "join":
        assert queue.join(("default", "a"), "shape", 0.0) is not None
    elif settle == "done":
        queue.done(("default", "a"), 0.0)
    else:
        queue.back_off(("default", "a"), 1.0, 0.0)
    assert ("default", "a") not in queue
    assert popped(queue, 10.0) == []


def test_a_vm_recreated_during_its_flight_waits_until_that_is_over() -> None:
    queue = Queue()
    queue.add(entry("a", uid="1"), 0.0)
    queue.pop(0.0)
    queue.remove(("default", "a"), 0.0)
    queue.add(entry("a", uid="2"), 0.0)
    assert popped(queue) == []
    queue.park(("default", "a"), "shape", FULL, 0.0)
    assert queue.pop(0.0) == entry("a", uid="2")


def test_a_failure_pauses_for_as_long_as_it_is_told() -> None:
    queue = Queue()
    queue.add(entry("a"), 0.0)
    queue.pop(0.0)
    queue.back_off(("default", "a"), 5.0, 1.0)
    assert queue.next_time(1.0) == 6.0
    assert popped(queue, 5.9) == []
    assert popped(queue, 6.0) == ["a"]


def test_a_retry_shortens_every_wait_and_outlives_a_flight() -> None:
    queue = Queue()
    queue.add(entry("a"), 0.0)
    queue.pop(0.0)
    queue.back_off(("default", "a"), 5.0, 0.0)
    queue.retry(("default", "a"))
    assert popped(queue) == ["a"]
    queue.retry(("default", "a"))
    queue.park(("default", "a"), "shape", FULL, 0.0)
    assert popped(queue) == ["a"]


def test_sizes_count_every_vm_once() -> None:
    queue = Queue()
    parked(queue, entry("parked", created=-1.0))
    for name in ("a", "b", "c"):
        queue.add(entry(name), 0.0)
    queue.pop(0.0)
    queue.back_off(("default", "a"), 1.0, 0.0)
    queue.pop(0.0)
    assert set(queue.sizes().values()) == {1}
    assert len(queue) == 4


def test_an_empty_queue_waits_for_nothing() -> None:
    queue = Queue()
    assert queue.pop(0.0) is None
    assert queue.next_time(0.0) is None


def test_whoever_is_to_be_decided_is_due_now() -> None:
    queue = Queue()
    queue.add(entry("a"), 7.0)
    assert queue.next_time(7.0) == 7.0
