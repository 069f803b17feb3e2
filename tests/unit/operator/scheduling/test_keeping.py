"""On which node room is kept for a VM that finds none."""

import pytest
from tests.unit.operator.scheduling.clusters import GIB
from tests.unit.operator.scheduling.examples import apart, held, labelled, node, snapshot, wish

from berth_operator.scheduling.keeping import room_to_keep
from berth_operator.scheduling.nodes import NodeFacts
from berth_operator.scheduling.snapshot import Snapshot

LARGE = wish(4000, 8 * GIB)


def kept(seen: Snapshot, *unavailable: str) -> str | None:
    return room_to_keep(seen, LARGE, lambda name: name not in unavailable)


def test_room_is_kept_where_the_least_is_lacking() -> None:
    seen = snapshot(node("a"), node("b"), node("c", cpu=3999))
    seen.take(held("v1", "a", cpu=2000))
    seen.take(held("v2", "b", cpu=500, memory=3 * GIB))
    assert kept(seen) == "b"
    assert kept(seen, "b") == "a"
    assert kept(seen, "a", "b") is None


def test_of_equal_nodes_the_first_name_is_kept() -> None:
    assert kept(snapshot(node("b"), node("a"))) == "a"


@pytest.mark.parametrize(
    "facts",
    [
        node("n", cpu=3999),
        node("n", memory=8 * GIB - 1),
        node("n", slots=0),
        node("n", schedulable=False),
        node("n", accelerator=""),
        node("n", libvirt=False),
    ],
)
def test_no_room_is_kept_where_the_vm_would_not_fit_even_alone(facts: NodeFacts) -> None:
    assert kept(snapshot(facts)) is None


def test_no_room_is_kept_on_a_node_that_went() -> None:
    seen = snapshot(node("a"))
    seen.remove("a")
    assert room_to_keep(seen, wish(0, 0), lambda _name: True) is None


def test_slots_that_are_taken_come_free() -> None:
    assert kept(snapshot(node("n", slots=1), holdings=[held("v1", "n")])) == "n"


def test_no_room_is_kept_beside_a_vm_that_must_not_be_near() -> None:
    seen = snapshot(node("n"), holdings=[held("v1", "n", member=apart(app="db"))])
    assert room_to_keep(seen, wish(4000, 8 * GIB), lambda _name: True) == "n"
    assert room_to_keep(seen, wish(4000, 8 * GIB, member=labelled(app="db")), lambda _name: True) is None


def test_pools_have_to_be_there_and_large_enough() -> None:
    seen = snapshot(node("a", pools={"p": 2 * GIB}), node("b", pools={"p": 4 * GIB}))
    seen.take(held("v1", "b", pools={"p": 3 * GIB}))

    def keep(size: int, pool: str = "p") -> str | None:
        return room_to_keep(seen, wish(pools=((pool, size),)), lambda _name: True)

    assert (keep(2 * GIB), keep(3 * GIB), keep(5 * GIB), keep(1, "unheard-of")) == ("a", "b", None, None)
