"""What makes one node better than another, score by score."""

from math import log

import pytest
from tests.unit.operator.scheduling.clusters import GIB, MIB
from tests.unit.operator.scheduling.examples import (
    HOST,
    ZONE,
    chosen,
    group,
    held,
    labelled,
    near,
    node,
    snapshot,
    wish,
)

from berth_operator.scheduling.groups import Member, Spread, Term, Weighted
from berth_operator.scheduling.nodes import Taint
from berth_operator.scheduling.place import Placement, examine, place
from berth_operator.scheduling.profiles import DEFAULT_PROFILE, PACK_PROFILE
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.selectors import NodeTerm, Requirement
from berth_operator.scheduling.snapshot import Snapshot

PROFILES = {profile.name: profile for profile in (DEFAULT_PROFILE, PACK_PROFILE)}


def rates(score: str, seen: Snapshot, request: Request, profile: str = "default") -> dict[str, float]:
    """What a score says of each node that will do."""
    examined = examine(seen, request, PROFILES[profile])
    rows = {name: row for name, row in seen.index.items() if examined.feasible[row]}
    return {name: round(float(examined.rates[score][row]), 6) for name, row in sorted(rows.items())}


def test_least_allocated_is_the_mean_of_the_shares_that_are_left() -> None:
    seen = snapshot(node("a", cpu=4000, memory=8 * GIB), node("b", cpu=2000, memory=4 * GIB))
    assert rates("LeastAllocated", seen, wish(1000, GIB)) == {"a": (0.75 + 0.875) / 2, "b": (0.5 + 0.75) / 2}


def test_most_allocated_is_the_opposite_and_packs() -> None:
    seen = snapshot(node("a"), node("b"), holdings=[held("v1", "b")])
    assert rates("MostAllocated", seen, wish(1000, GIB), "pack") == {"a": 0.1875, "b": 0.3125}
    assert chosen(seen, wish()) == "a"
    answer = place(seen, wish(), PACK_PROFILE)
    assert isinstance(answer, Placement)
    assert answer.node == "b"


def test_balanced_allocation_strands_neither_cpu_nor_memory() -> None:
    seen = snapshot(node("a", cpu=4000, memory=2 * GIB), node("b", cpu=4000, memory=4 * GIB))
    assert rates("BalancedAllocation", seen, wish(1000, GIB)) == {"a": 0.75, "b": 1.0}


def test_memory_counts_with_the_overhead_of_the_nodes_accelerator() -> None:
    seen = snapshot(node("a", accelerator="kvm"), node("b", accelerator="tcg"))
    request = Request(0, memory_kvm=4 * GIB, memory_tcg=6 * GIB)
    assert rates("LeastAllocated", seen, request) == {"a": 0.75, "b": 0.625}
    answer = place(seen, request)
    assert isinstance(answer, Placement)
    assert (answer.node, answer.memory) == ("a", 4 * GIB)


def term(key: str, *values: str) -> NodeTerm:
    return NodeTerm((Requirement(key, "In", values),))


def test_preferred_node_affinity_adds_weights_up() -> None:
    seen = snapshot(node("a", labels={"disk": "ssd"}), node("b", labels={"disk": "ssd", "net": "10g"}), node("c"))
    preferred = ((30, term("disk", "ssd")), (10, term("net", "10g")), (100, term("gpu", "yes")), (5, NodeTerm()))
    assert rates("NodeAffinity", seen, wish(preferred_nodes=preferred)) == {"a": 0.75, "b": 1.0, "c": 0.0}


def test_nothing_is_said_where_no_node_matches_a_preference() -> None:
    assert rates("NodeAffinity", snapshot(node("a")), wish(preferred_nodes=((1, term("gpu", "yes")),))) == {"a": 0.0}


def prefers(weight: int, key: str = HOST, **labels: str) -> Member:
    return Member("ns", preferred=(Weighted(weight, Term(group(**labels), key)),))


def test_preferred_vm_affinity_counts_vms_in_the_domain() -> None:
    seen = snapshot(node("a", zone="1"), node("b", zone="1"), node("c", zone="2"), node("d"))
    for number, at in enumerate("aabc"):
        seen.take(held(f"v{number}", at, member=labelled(app="web")))
    assert rates("VMAffinity", seen, wish(member=prefers(10, ZONE, app="web"))) == {
        "a": 1.0,
        "b": 1.0,
        "c": round(1 / 3, 6),
        "d": 0.0,
    }


def test_among_nodes_that_are_all_to_be_avoided_the_least_bad_is_best() -> None:
    seen = snapshot(node("a"), node("b"))
    for number, at in enumerate("aab"):
        seen.take(held(f"v{number}", at, member=labelled(app="web")))
    assert rates("VMAffinity", seen, wish(member=prefers(-10, app="web"))) == {"a": 0.0, "b": 1.0}


def test_what_placed_vms_prefer_counts_too() -> None:
    seen = snapshot(node("a"), node("b"), node("c"))
    seen.take(held("v1", "a", member=prefers(4, app="web")))
    seen.take(held("v2", "b", member=prefers(-4, app="web")))
    assert rates("VMAffinity", seen, wish(member=labelled(app="web"))) == {"a": 1.0, "b": 0.0, "c": 0.5}
    assert rates("VMAffinity", seen, wish(member=labelled(app="db"))) == {"a": 0.0, "b": 0.0, "c": 0.0}


def test_what_placed_vms_require_counts_once_each() -> None:
    seen = snapshot(node("a"), node("b"), node("c"))
    seen.take(held("v1", "a", member=near(HOST, app="web")))
    for number in range(4):
        seen.take(held(f"w{number}", "b", member=near(HOST, app="web")))
    assert rates("VMAffinity", seen, wish(member=labelled(app="web"))) == {"a": 0.25, "b": 1.0, "c": 0.0}


def test_soft_spread_prefers_the_emptiest_domains() -> None:
    seen = snapshot(node("a", zone="1"), node("b", zone="2"), node("c"))
    for number, at in enumerate("aaab"):
        seen.take(held(f"v{number}", at, member=labelled(app="web")))
    request = wish(soft_spread=(Spread(group(app="web"), ZONE, 2),))
    low, high = 1 * log(4) + 1, 3 * log(4) + 1
    assert rates("TopologySpread", seen, request) == {"a": round(low / high, 6), "b": 1.0, "c": 0.0}


def test_where_nothing_is_placed_yet_every_domain_is_as_good() -> None:
    seen = snapshot(node("a", zone="1"), node("b"))
    assert rates("TopologySpread", seen, wish(soft_spread=(Spread(group(), ZONE, 1),))) == {"a": 1.0, "b": 0.0}


def test_a_node_that_holds_the_images_is_better() -> None:
    """By bytes, scaled by the share of nodes that hold them, between 23 and 1000 MiB per image."""
    seen = snapshot(node("a", images={"1": 500 * MIB}), node("b", images={"1": 500 * MIB, "2": 300 * MIB, "3": GIB}))
    low, high = 500.0 - 23, 500 + 300 / 2 - 23
    assert rates("ImageLocality", seen, wish(images=frozenset({"1", "2"}))) == {
        "a": round(low / (2000 - 23), 6),
        "b": round(high / (2000 - 23), 6),
    }
    assert rates("ImageLocality", seen, wish()) == {"a": 0.0, "b": 0.0}


def test_small_images_count_for_nothing_and_huge_ones_for_no_more_than_all() -> None:
    seen = snapshot(node("a", images={"1": 20 * MIB, "2": 9 * GIB}), node("b", images={"2": 9 * GIB}))
    assert rates("ImageLocality", seen, wish(images=frozenset({"1"}))) == {"a": 0.0, "b": 0.0}
    assert rates("ImageLocality", seen, wish(images=frozenset({"2"}))) == {"a": 1.0, "b": 1.0}


def test_an_image_counts_from_when_the_node_holds_it() -> None:
    seen = snapshot(node("a"))
    request = wish(images=frozenset({"1"}))
    assert rates("ImageLocality", seen, request) == {"a": 0.0}
    seen.upsert(node("a", images={"1": GIB}))
    assert rates("ImageLocality", seen, request) == {"a": 1.0}


def test_an_image_counts_for_less_where_fewer_of_the_nodes_hold_it() -> None:
    seen = snapshot(node("a", images={"1": 1000 * MIB}))
    request = wish(images=frozenset({"1"}))
    assert rates("ImageLocality", seen, request) == {"a": 1.0}
    seen.upsert(node("b"))
    seen.set_ready("b", ready=True)
    assert rates("ImageLocality", seen, request) == {"a": round((500 - 23) / (1000 - 23), 6), "b": 0.0}
    seen.remove("b")
    assert rates("ImageLocality", seen, request) == {"a": 1.0}


def test_taints_that_only_discourage_do_so() -> None:
    old, slow = Taint("old", effect="PreferNoSchedule"), Taint("slow", effect="PreferNoSchedule")
    seen = snapshot(node("a", taints=(old, slow)), node("b", taints=(old,)), node("c"))
    assert rates("TaintToleration", seen, wish()) == {"a": 0.0, "b": 0.5, "c": 1.0}


@pytest.mark.parametrize("score", ["BuildFailures", "Migrations"])
def test_a_node_in_trouble_is_worse(score: str) -> None:
    seen = snapshot(node("a"), node("b"), node("c"), node("d", cpu=0))
    assert rates(score, seen, wish()) == {"a": 0.0, "b": 0.0, "c": 0.0}
    count = seen.set_failures if score == "BuildFailures" else seen.set_migrations
    for name, number in (("a", 4), ("b", 1), ("d", 100)):
        count(name, number)
    assert rates(score, seen, wish()) == {"a": 0.0, "b": 0.75, "c": 1.0}


def test_a_tie_goes_to_the_first_name() -> None:
    assert chosen(snapshot(node("b"), node("a"), node("c")), wish()) == "a"


def test_a_tie_goes_to_the_first_name_of_those_that_are_there_by_now() -> None:
    seen = snapshot(node("b"), node("c"))
    assert chosen(seen, wish()) == "b"
    for name in ("a", "d"):
        seen.upsert(node(name))
        seen.set_ready(name, ready=True)
    assert chosen(seen, wish()) == "a"
    seen.remove("a")
    assert chosen(seen, wish()) == "b"


def test_the_score_is_the_weighed_sum() -> None:
    seen = snapshot(node("a", cpu=4000, memory=8 * GIB))
    answer = place(seen, wish(1000, 4 * GIB))
    assert isinstance(answer, Placement)
    assert answer.score == (0.75 + 0.5) / 2 + (1 - abs(0.75 - 0.5))


@pytest.mark.parametrize("size", [16 * MIB, 400 * MIB, 4 * GIB])
def test_an_image_that_one_node_holds_does_not_draw_all_vms_there(size: int) -> None:
    nodes = [node("a", images={"1": size}), node("b")]
    wanted = wish(cpu=500, memory=GIB, images=frozenset({"1"}))
    assert chosen(snapshot(*nodes), wanted) == "a"
    assert chosen(snapshot(*nodes, holdings=[held("first", "a", cpu=1000, memory=GIB)]), wanted) == "b"
