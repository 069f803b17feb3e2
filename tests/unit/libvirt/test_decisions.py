"""What is started and stopped on a node follows from what runs there, and never touches a guest."""

import pytest

from berth_libvirt.decisions import Decision, Restarts, decide
from berth_libvirt.processes import LIBVIRTD, VIRTLOGD, Process, daemons

NEW, OLD = "new", "old"


def a_process(name: str, tree: str, pid: int, parent: int = 1) -> Process:
    return Process(pid, 1000 + pid, parent, name, tree)


LOGD, DAEMON = a_process(VIRTLOGD, NEW, 10), a_process(LIBVIRTD, NEW, 11)
OLD_LOGD, OLD_DAEMON = a_process(VIRTLOGD, OLD, 20), a_process(LIBVIRTD, OLD, 21)
GUEST = a_process("qemu-system-x86", OLD, 30)


def test_on_an_empty_node_both_are_started_the_one_that_guests_write_to_first() -> None:
    assert decide(NEW, [], None) == Decision(start=(VIRTLOGD, LIBVIRTD), keep=frozenset({NEW}))


def test_what_runs_from_the_wanted_tree_is_left_alone() -> None:
    assert decide(NEW, [LOGD, DAEMON], None) == Decision(keep=frozenset({NEW}))


def test_a_daemon_that_died_is_started_alone() -> None:
    assert decide(NEW, [LOGD], None).start == (LIBVIRTD,)
    assert decide(NEW, [DAEMON], None).start == (VIRTLOGD,)


def test_another_image_replaces_libvirtd_and_leaves_guests_with_their_log_and_their_tree() -> None:
    decision = decide(NEW, [OLD_LOGD, OLD_DAEMON, GUEST], None)
    assert decision.stop == (OLD_DAEMON,)
    assert decision.start == (LIBVIRTD,)
    assert decision.keep == {NEW, OLD}


def test_without_guests_another_image_replaces_both() -> None:
    decision = decide(NEW, [OLD_LOGD, OLD_DAEMON], None)
    assert decision.stop == (OLD_LOGD, OLD_DAEMON)
    assert decision.start == (VIRTLOGD, LIBVIRTD)


def test_a_former_tree_is_kept_for_as_long_as_a_guest_runs_from_it() -> None:
    assert OLD in decide(NEW, [LOGD, DAEMON, GUEST], None).keep
    assert OLD not in decide(NEW, [LOGD, DAEMON], None).keep


def test_of_two_the_second_is_stopped() -> None:
    second = a_process(LIBVIRTD, NEW, 12)
    assert decide(NEW, [LOGD, DAEMON, second], None).stop == (second,)


def test_guests_are_never_stopped() -> None:
    for tree in (NEW, OLD):
        guests = [a_process("qemu-system-x86", tree, number) for number in (1, 2)]
        assert not {*guests} & {*decide(NEW, [*guests, OLD_DAEMON, OLD_LOGD], 99).stop}


def test_beside_a_libvirtd_of_the_nodes_own_nothing_is_started() -> None:
    decision = decide(NEW, [], server=77)
    assert decision.stranger == 77
    assert decision.start == ()


def test_a_libvirtd_of_ours_is_no_stranger() -> None:
    assert decide(NEW, [LOGD, DAEMON], server=DAEMON.pid).stranger is None


def test_a_child_that_a_daemon_has_just_forked_is_no_daemon() -> None:
    child = a_process(LIBVIRTD, NEW, 12, parent=DAEMON.pid)
    assert daemons([DAEMON, child], LIBVIRTD) == [DAEMON]
    assert decide(NEW, [LOGD, DAEMON, child], None).stop == ()


def test_a_process_that_has_lost_its_parent_is_the_same() -> None:
    assert a_process(LIBVIRTD, NEW, 11, parent=99) == DAEMON


def test_a_daemon_that_does_not_stay_is_started_ever_more_slowly_and_one_that_stayed_at_once() -> None:
    restarts = Restarts(first=1.0, most=8.0, calm=60.0)
    now, pauses = 0.0, []
    assert restarts.next_at() < now
    for _ in range(6):
        restarts.started(now)
        pauses.append(restarts.next_at() - now)
        now = restarts.next_at()
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    now += 61.0
    restarts.started(now)
    assert restarts.next_at() - now == pytest.approx(1.0)
