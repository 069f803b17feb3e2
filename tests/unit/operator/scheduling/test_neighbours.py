"""Which nodes other VMs leave to a VM: affinity, anti-affinity and spread, rule by rule."""

from tests.unit.operator.scheduling.examples import (
    ALL_VMS,
    HOST,
    ZONE,
    apart,
    chosen,
    group,
    held,
    labelled,
    near,
    node,
    snapshot,
    why_not,
    wish,
)

from berth_operator.scheduling.groups import Group, Member, Spread, Term
from berth_operator.scheduling.selectors import Requirement, Selector


def test_vms_that_keep_apart_share_no_domain() -> None:
    seen = snapshot(node("a", zone="1"), node("b", zone="1"), node("c", zone="2"))
    request = wish(member=apart(app="db"))
    seen.take(held("v1", "a", member=request.member))
    assert chosen(seen, request) == "b"
    assert chosen(seen, wish(member=apart(ZONE, app="db"))) == "c"
    seen.take(held("v2", "c", member=labelled(app="db")))
    assert "3 already hold a VM that it must not be near" in why_not(seen, wish(member=apart(ZONE, app="db")))


def test_anti_affinity_is_symmetric() -> None:
    """The VM that is placed keeps the new one away, which has no wish of its own."""
    seen = snapshot(node("a"), holdings=[held("v1", "a", member=apart(app="db"))])
    assert chosen(seen, wish(member=labelled(app="web"))) == "a"
    assert "(VMs that keep away from app=db)" in why_not(seen, wish(member=labelled(app="db")))


def test_a_node_without_the_key_cannot_violate_anti_affinity() -> None:
    seen = snapshot(node("a"), holdings=[held("v1", "a", member=apart(ZONE, app="db"))])
    assert chosen(seen, wish(member=apart(ZONE, app="db"))) == "a"


def test_only_the_namespaces_that_a_term_names_count() -> None:
    seen = snapshot(node("a"), holdings=[held("v1", "a", member=labelled("other", app="db"))])
    keeps_away = Member("ns", anti_affinity=(Term(group("ns", app="db"), HOST),))
    assert chosen(seen, wish(member=keeps_away)) == "a"
    named = Member("ns", anti_affinity=(Term(group("other", app="db"), HOST),))
    assert "1 already holds" in why_not(seen, wish(member=named))


def test_namespaces_are_chosen_by_their_labels_as_they_are_now() -> None:
    chooses = Group(ALL_VMS, frozenset(), Selector((Requirement("team", "In", ("a",)),)))
    request = wish(member=Member("ns", anti_affinity=(Term(chooses, HOST),)))
    seen = snapshot(node("a"), holdings=[held("v1", "a", member=labelled("other"))])
    assert chosen(seen, request) == "a"
    seen.name_space("other", {"team": "a"})
    assert "1 already holds" in why_not(seen, request)
    seen.name_space("other", None)
    assert chosen(seen, request) == "a"


def test_an_empty_namespace_selector_is_all_namespaces() -> None:
    everywhere = Member("ns", anti_affinity=(Term(Group(ALL_VMS, frozenset(), Selector()), HOST),))
    seen = snapshot(node("a"), holdings=[held("v1", "a", member=labelled("unheard-of"))])
    assert "1 already holds" in why_not(seen, wish(member=everywhere))


def test_a_selector_that_was_left_out_matches_nothing() -> None:
    nobody = Member("ns", anti_affinity=(Term(Group(None, frozenset({"ns"})), HOST),))
    assert chosen(snapshot(node("a"), holdings=[held("v1", "a")]), wish(member=nobody)) == "a"


def test_a_vm_is_placed_near_those_that_it_wants() -> None:
    seen = snapshot(node("a", zone="1"), node("b", zone="2"), node("c"))
    seen.take(held("v1", "b", member=labelled(app="web")))
    assert chosen(seen, wish(member=near(app="web"))) == "b"
    assert "3 are not near the VMs of vmAffinity (app=db by topology" in why_not(seen, wish(member=near(app="db")))


def test_the_first_vm_of_a_group_that_wants_its_own_kind_may_go_anywhere_with_the_key() -> None:
    seen = snapshot(node("a"), node("b", zone="1"), node("c", zone="2"))
    first = near(own={"app": "web"}, app="web")
    assert chosen(seen, wish(member=first)) == "b"
    seen.take(held("v1", "c", member=first))
    assert chosen(seen, wish(member=first)) == "c"
    seen.take(held("v2", "c", cpu=3500))
    assert "2 are not near the VMs of vmAffinity" in why_not(seen, wish(member=first))


def test_a_vm_with_one_of_two_keys_is_a_first_one_already() -> None:
    itself = Member("ns", (("app", "web"),), affinity=(Term(group(app="web"), ZONE), Term(group(app="web"), "rack")))
    seen = snapshot(node("a", zone="1"), node("b", zone="1", labels={"rack": "r"}))
    assert chosen(seen, wish(member=itself)) == "b"
    seen.take(held("v1", "a", member=itself))
    assert "2 are not near" in why_not(seen, wish(member=itself))


def test_a_vm_of_the_group_on_a_node_without_the_key_is_near_nobody() -> None:
    first = near(own={"app": "web"}, app="web")
    seen = snapshot(node("a"), node("b", zone="1"), holdings=[held("v1", "a", member=first)])
    assert chosen(seen, wish(member=first)) == "b"


def test_one_vm_must_match_all_terms_of_affinity() -> None:
    both = Member("ns", affinity=(Term(group(app="web"), ZONE), Term(group(tier="front"), ZONE)))
    seen = snapshot(node("a", zone="1"))
    seen.take(held("v1", "a", member=labelled(app="web")))
    seen.take(held("v2", "a", member=labelled(tier="front")))
    assert "1 is not near" in why_not(seen, wish(member=both))
    seen.take(held("v3", "a", member=labelled(app="web", tier="front")))
    assert chosen(seen, wish(member=both)) == "a"


def spread(max_skew: int = 1, min_domains: int = 1, key: str = ZONE, **labels: str) -> Spread:
    return Spread(group(**labels), key, max_skew, min_domains)


def test_a_group_spreads_within_its_skew() -> None:
    nodes = [node("a", zone="1"), node("b", zone="2"), node("c")]
    seen = snapshot(*nodes, holdings=[held(f"v{i}", "a", member=labelled(app="web")) for i in range(2)])
    seen.take(held("big", "b", cpu=3500))
    itself, other = labelled(app="web"), labelled(app="db")
    assert "3 would make topologySpreadConstraints uneven (topology.kubernetes.io/zone, maxSkew 1)" not in why_not(
        seen, wish(member=itself, spread=(spread(app="web"),))
    )
    assert chosen(seen, wish(member=itself, spread=(spread(3, app="web"),))) == "a"
    assert chosen(seen, wish(member=other, spread=(spread(2, app="web"),))) == "a"
    assert "2 would make topologySpreadConstraints uneven (topology" in why_not(
        seen, wish(member=itself, spread=(spread(2, app="web"),))
    )


def test_too_few_domains_count_as_one_more_that_is_empty() -> None:
    nodes = [node("a", zone="1"), node("b", zone="2")]
    seen = snapshot(*nodes, holdings=[held(f"v{at}", at, member=labelled(app="web")) for at in "ab"])
    request = wish(member=labelled(app="web"), spread=(spread(min_domains=2, app="web"),))
    assert chosen(seen, request) == "a"
    lonely = wish(member=labelled(app="web"), spread=(spread(min_domains=3, app="web"),))
    assert "2 would make" in why_not(seen, lonely)


def test_nodes_that_the_vm_does_not_select_do_not_count_for_its_spread() -> None:
    nodes = [node("a", zone="1", labels={"disk": "ssd"}), node("b", zone="2")]
    seen = snapshot(*nodes, holdings=[held("v1", "a", member=labelled(app="web"))])
    request = wish(member=labelled(app="web"), node_selector=(("disk", "ssd"),), spread=(spread(app="web"),))
    assert chosen(seen, request) == "a"
