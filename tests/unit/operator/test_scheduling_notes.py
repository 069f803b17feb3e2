"""What parked VMs are told, and who of them waits for a reservation."""

from tests.unit.operator.queues import FULL, Queue, entry, parked, popped

from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.lines import Verdict
from berth_operator.scheduling.parking import Pace


def test_a_newly_parked_vm_is_to_be_told_at_once_and_only_once() -> None:
    queue = Queue()
    parked(queue, entry("a"))
    assert queue.next_time(0.0) == 0.0
    assert queue.untold(0.0) == [(entry("a"), "full")]
    assert queue.untold(1000.0) == []


def changed(queue: Queue, note: str, now: float) -> None:
    queue.happened(Cure.CLAIM_FREED)
    one = queue.pop(now)
    assert one is not None
    queue.park(one.key, "shape", Verdict(FULL.causes, note), now)


def test_a_changed_note_is_told_to_all_of_its_line_but_to_nobody_twice_within_the_time() -> None:
    queue = Queue(Pace(retell=30.0))
    parked(queue, entry("a", created=1.0), entry("b", created=2.0))
    assert len(queue.untold(0.0)) == 2
    changed(queue, "still full", 10.0)
    assert queue.untold(10.0) == []
    assert queue.next_time(10.0) == 30.0
    assert {(one.key[1], note) for one, note in queue.untold(30.0)} == {("a", "still full"), ("b", "still full")}
    changed(queue, "fuller", 31.0)
    assert queue.untold(59.9) == []
    assert len(queue.untold(60.0)) == 2


def test_the_same_note_is_not_told_again() -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0), entry("b", created=2.0))
    queue.untold(0.0)
    changed(queue, "full", 10.0)
    assert queue.untold(100.0) == []


def test_a_vm_that_moves_to_another_line_hears_its_note_no_sooner_than_the_time() -> None:
    queue = Queue(Pace(retell=30.0))
    parked(queue, entry("a"))
    queue.untold(0.0)
    queue.add(entry("a", revision=2), 5.0)
    parked(queue, shape="other", verdict=Verdict(FULL.causes, "lacks a network"), now=5.0)
    assert queue.untold(29.0) == []
    assert queue.untold(30.0) == [(entry("a", revision=2), "lacks a network")]


def test_who_could_not_be_told_is_told_later() -> None:
    queue = Queue(Pace(retell=30.0))
    parked(queue, entry("a"))
    queue.untold(0.0)
    queue.tell_again(("default", "a"))
    assert queue.untold(29.0) == []
    assert queue.untold(30.0) == [(entry("a"), "full")]


def test_no_more_are_told_at_a_time_than_asked_for() -> None:
    queue = Queue()
    parked(queue, *(entry(str(number)) for number in range(5)))
    assert [len(queue.untold(0.0, most=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_who_waits_for_room_is_a_candidate_for_a_reservation_until_it_is_bound() -> None:
    queue = Queue()
    parked(queue, entry("a"), verdict=Verdict(FULL.causes, "full", room=True))
    assert queue.reservations.due(30.0, nodes=1) == entry("a")
    queue.reservations.reserve("uid-a", "node-1", 30.0)
    queue.happened(Cure.CLAIM_FREED)
    assert popped(queue, 31.0) == ["a"]
    queue.placed(("default", "a"), "shape", 31.0)
    assert not queue.reservations.active(31.0)
    queue.done(("default", "a"), 31.0)
    assert queue.reservations.due(100.0, nodes=1) is None


def test_the_end_of_a_reservation_is_freed_room_for_others() -> None:
    queue = Queue()
    parked(queue, entry("large", created=1.0), shape="large", verdict=Verdict(FULL.causes, "full", room=True))
    parked(queue, entry("small", created=2.0), shape="small", verdict=FULL)
    queue.reservations.due(30.0, nodes=1)
    queue.reservations.reserve("uid-large", "node-1", 30.0)
    assert popped(queue, 100.0) == []
    queue.remove(("default", "large"), 100.0)
    assert popped(queue, 100.0) == ["small"]


def test_who_joins_a_line_that_waits_for_room_is_a_candidate_too() -> None:
    queue = Queue()
    parked(queue, entry("a", created=1.0), entry("b", created=2.0), verdict=Verdict(FULL.causes, "full", room=True))
    queue.untold(0.0)
    assert queue.next_time(0.0) == 30.0
    queue.reservations.reserve(queue.reservations.due(30.0, nodes=40).uid, "node-1", 30.0)  # type: ignore[union-attr]
    assert queue.reservations.due(30.0, nodes=40) == entry("b", created=2.0)


def test_who_is_rejected_for_something_else_is_no_candidate_any_longer() -> None:
    queue = Queue()
    parked(queue, entry("a"), verdict=Verdict(FULL.causes, "full", room=True))
    queue.happened(Cure.CLAIM_FREED)
    queue.pop(1.0)
    queue.park(("default", "a"), "shape", FULL, 1.0)
    assert queue.reservations.due(100.0, nodes=1) is None


def test_a_recreated_vm_is_told_afresh_and_waits_for_room_afresh() -> None:
    queue = Queue()
    full = Verdict(FULL.causes, "full", room=True)
    parked(queue, entry("a", uid="1"), verdict=full)
    assert len(queue.untold(0.0)) == 1
    queue.add(entry("a", uid="2"), 20.0)
    parked(queue, verdict=full, now=20.0)
    assert len(queue.untold(20.0)) == 1
    assert queue.reservations.due(49.0, nodes=1) is None
    assert queue.reservations.due(50.0, nodes=1) == entry("a", uid="2")
