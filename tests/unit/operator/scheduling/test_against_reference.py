"""Filters, scores and choice agree with the plain definitions, on any cluster, for any request."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operator.scheduling import reference
from tests.unit.operator.scheduling.clusters import KINDS, SOFT, Scene, scenes, snapshot_of
from tests.unit.operator.scheduling.reference import World

from berth_operator.scheduling.filters import FILTERS
from berth_operator.scheduling.place import Examination, Placement, examine, place
from berth_operator.scheduling.plugins import ROOM
from berth_operator.scheduling.profiles import ProfileSettings
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.scores import SCORES
from berth_operator.scheduling.snapshot import Snapshot

NAMES = [score.name for score in SCORES]
WEIGHTS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from((0, 0.5, 1, 3))) | st.just(dict.fromkeys(NAMES, 0))
EVERY_SCORE = ProfileSettings(name="every", scores={"MostAllocated": 1}).build()
thorough = settings(max_examples=300, deadline=None)


def test_the_reference_knows_every_filter_and_score() -> None:
    assert [each.name for each in FILTERS] == list(reference.FILTERS)
    assert [(score.name, score.weight) for score in SCORES] == [(n, w) for n, (w, _) in reference.SCORES.items()]


def turned_down(snapshot: Snapshot, examined: Examination) -> dict[str, list[str]]:
    rows = snapshot.index
    return {node: [name for name, mask in examined.masks.items() if not mask[row]] for node, row in rows.items()}


def rated(snapshot: Snapshot, examined: Examination, nodes: list[str]) -> dict[str, reference.Rates]:
    rows = snapshot.index
    return {name: {node: float(rates[rows[node]]) for node in nodes} for name, rates in examined.rates.items()}


def check(world: World, request: Request, snapshot: Snapshot) -> None:
    """Everything that is said of every node."""
    examined = examine(snapshot, request, EVERY_SCORE)
    failing = reference.reasons(world, request)
    assert turned_down(snapshot, examined) == failing
    nodes = [node.name for node in reference.feasible(world, request)]
    assert sorted(snapshot.name(int(row)) for row in examined.feasible.nonzero()[0]) == nodes
    if nodes:
        assert rated(snapshot, examined, nodes) == reference.scores(world, request)
        total = reference.totals(world, request, {"MostAllocated": 1})
        assert {node: float(examined.total[snapshot.index[node]]) for node in nodes} == total
    check_answer(world, request, snapshot, failing)


def check_answer(world: World, request: Request, snapshot: Snapshot, failing: dict[str, list[str]]) -> None:
    answer = place(snapshot, request)
    chosen = reference.choose(world, request)
    if isinstance(answer, Placement):
        assert answer.node == chosen
        assert answer.score == reference.totals(world, request)[answer.node]
        facts = next(node for node in world.nodes if node.name == answer.node)
        assert answer.memory == reference.memory_wanted(request, facts)
    else:
        assert chosen is None
        first = Counter(reasons[0] for reasons in failing.values())
        assert answer.by_filter == first
        assert answer.message.startswith(f"0/{len(world.nodes)} nodes: ")
        assert answer.room == any(each.cured_by == ROOM for each in FILTERS if each.name in first)
        if first:
            assert answer.cured_by == frozenset().union(*(each.cured_by for each in FILTERS if each.name in first))


@given(scenes())
@thorough
def test_every_filter_agrees_on_every_node(scene: Scene) -> None:
    world = scene.world()
    check(world, scene.request(), snapshot_of(world))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_each_kind_of_wish_alone_agrees(kind: str, data: st.DataObject) -> None:
    scene = data.draw(scenes((kind,)))
    world = scene.world()
    check(world, scene.request(), snapshot_of(world))


@given(scenes(SOFT, gentle=True))
@thorough
def test_every_score_agrees_where_most_nodes_are_feasible(scene: Scene) -> None:
    world = scene.world()
    check(world, scene.request(), snapshot_of(world))


@given(scenes(SOFT, gentle=True), WEIGHTS)
@thorough
def test_the_choice_follows_the_weights_of_the_profile(scene: Scene, weights: dict[str, float]) -> None:
    world, request = scene.world(), scene.request()
    snapshot, profile = snapshot_of(world), ProfileSettings(name="own", scores=weights).build()
    answer = place(snapshot, request, profile)
    assert isinstance(answer, Placement)
    assert answer.node == reference.choose(world, request, weights)
    examined = examine(snapshot, request, profile)
    assert answer.score == examined.total[snapshot.index[answer.node]] == max(examined.total[examined.feasible])


@given(scenes())
@thorough
def test_the_order_in_which_nodes_are_told_does_not_matter(scene: Scene) -> None:
    world, request = scene.world(), scene.request()
    order = list(world.nodes)
    scene.dice("order").shuffle(order)
    assert place(snapshot_of(world, order), request) == place(snapshot_of(world), request)


@given(scenes())
@thorough
def test_a_decision_changes_nothing(scene: Scene) -> None:
    world, wanted = scene.world(), [scene.request(number) for number in range(3)]
    snapshot = snapshot_of(world)
    before = snapshot.changes
    first = [place(snapshot, request) for request in wanted]
    again = [place(snapshot, request) for request in reversed(wanted)]
    assert again[::-1] == first == [place(snapshot_of(world), request) for request in wanted]
    assert snapshot.changes == before
