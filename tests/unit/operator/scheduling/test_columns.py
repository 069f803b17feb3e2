"""Columns of coded values, fits that are kept, and pools, each against the plain thing that it stands for."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operator.scheduling.clusters import GIB, Scene, scenes, snapshot_of
from tests.unit.operator.scheduling.examples import held, node, snapshot

from berth_operator.scheduling.columns import ABSENT, Encoded
from berth_operator.scheduling.filters import FILTERS
from berth_operator.scheduling.fits import Excerpt, Fit, Journal
from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.pools import NO_POOL
from berth_operator.scheduling.profiles import DEFAULT_PROFILE
from berth_operator.scheduling.scores import SCORES

VALUES = st.one_of(st.none(), st.integers(0, 300).map(str), st.sampled_from(("a", "b", "")))


@given(st.lists(st.tuples(st.integers(0, 20), VALUES), max_size=300))
@settings(deadline=None)
def test_a_column_is_a_list_of_values(changes: list[tuple[int, str | None]]) -> None:
    """Many values for few rows: those that nobody has any longer are forgotten on the way."""
    column, plain = Encoded[str](), list[str | None]()
    for place, value in changes:
        row = min(place, len(plain))
        plain[row : row + 1] = [value]
        column.set(row, value)
    assert [column.value(row) for row in range(len(plain))] == plain
    assert column.present().tolist() == [value is not None for value in plain]
    assert column.where(lambda value: value == "a").tolist() == [value == "a" for value in plain]
    assert column.where_any(("a", "7", "unheard-of")).tolist() == [value in ("a", "7") for value in plain]
    assert column.map(lambda value: len(value or "?")).tolist() == [len(value or "?") for value in plain]
    for row, value in enumerate(plain):
        same = [one == value for one in plain]
        assert column.among(column.codes[[row]]).tolist() == same
        assert (column.codes == column.codes[row]).tolist() == same
    assert all((code == ABSENT) == (value is None) for code, value in zip(column.codes, plain, strict=True))
    assert column.width <= 2 * len(plain) + 65


def test_values_that_no_row_has_any_longer_are_forgotten() -> None:
    column = Encoded(["a", None, "b"])
    for number in range(1000):
        column.set(2, f"value-{number}")
        assert [column.value(row) for row in range(3)] == ["a", None, f"value-{number}"]
        assert column.where_any((f"value-{number}",)).tolist() == [False, False, True]
    assert column.width <= 2 * 3 + 65


def test_a_column_may_start_with_values() -> None:
    column = Encoded(["a", None, "b", "a"])
    assert [column.value(row) for row in range(4)] == ["a", None, "b", "a"]


def test_users_may_ask_for_any_label_and_nothing_grows() -> None:
    seen = snapshot(node("a", labels={"k": "1"}), node("b", labels={"k": "2"}))
    for number in range(1000):
        assert seen.label(f"made-up-{number}").codes.tolist() == [ABSENT, ABSENT]
    seen.upsert(node("c", labels={"made-up-7": "x"}))
    assert seen.label("made-up-7").present().tolist() == [False, False, True]
    seen.upsert(node("c"))
    assert seen.label("made-up-7").codes.tolist() == [ABSENT] * 3
    assert [seen.label("k").value(row) for row in range(3)] == ["1", "2", None]
    assert len(seen._labels) == 1


def test_answers_about_nodes_are_asked_for_again_when_one_changes() -> None:
    seen, asked = snapshot(node("a")), list[int]()

    def ask() -> int:
        asked.append(1)
        return len(asked)

    assert [seen.remember("q", ask), seen.remember("q", ask)] == [1, 1]
    seen.take(held("v", "a"))
    seen.upsert(node("a", cpu=1))
    assert seen.remember("q", ask) == 1
    changes: list[Callable[[], object]] = [
        lambda: seen.upsert(node("a", labels={"x": "y"})),
        lambda: seen.upsert(node("b")),
        lambda: seen.set_ready("b", ready=True),
        lambda: seen.remove("b"),
    ]
    for number, change in enumerate(changes, 2):
        change()
        assert seen.remember("q", ask) == number


def test_no_more_answers_are_kept_than_have_room() -> None:
    seen = snapshot(node("a"))
    for number in range(2000):
        assert seen.remember(number, lambda number=number: number) == number  # type: ignore[misc]
        seen.fit(number, lambda excerpt: (excerpt.accelerated, excerpt.cpu.astype(float)))
    assert len(seen._memo) <= 256
    assert len(seen._fits) <= 64


@given(scenes(), st.lists(st.integers(0, 7), max_size=5))
@settings(max_examples=100, deadline=None)
def test_rowwise_filters_and_scores_say_of_some_rows_what_they_say_of_all(scene: Scene, rows: list[int]) -> None:
    seen, request = snapshot_of(scene.world()), scene.request()
    chosen = np.array([row for row in rows if row < seen.rows], dtype=np.intp)
    some: Excerpt = seen.excerpt(chosen)
    for each in FILTERS:
        if each.rowwise:
            whole = each.keep(seen, request)
            part = each.keep(some, request)  # type: ignore[arg-type] # rowwise: it asks the rows alone
            assert whole is not None
            assert part is not None
            assert whole[chosen].tolist() == part.tolist()
    for score in SCORES:
        if score.rowwise:
            rates = score.rate(seen, request, seen.live)
            partly = score.rate(some, request, some.accelerated)  # type: ignore[arg-type] # likewise
            assert rates is not None
            assert partly is not None
            assert rates[chosen].tolist() == partly.tolist()


def test_a_fit_is_made_anew_only_in_the_rows_that_changed() -> None:
    seen, asked = snapshot(*(node(f"node-{number}") for number in range(10))), list[int]()

    def judge(excerpt: Excerpt) -> tuple[BoolArray, FloatArray]:
        asked.append(len(excerpt.cpu))
        return excerpt.free_cpu > 0, excerpt.free_cpu.astype(float)

    def fit() -> Fit:
        return seen.fit("size", judge)

    fit()
    fit()
    seen.take(held("v", "node-3"))
    assert fit().score.tolist() == [4000.0] * 3 + [3500.0] + [4000.0] * 6
    seen.upsert(node("node-4", cpu=0))
    seen.remove("node-5")
    assert fit().fits.tolist() == [True] * 4 + [False] * 2 + [True] * 4
    seen.upsert(node("node-a"))
    assert fit().score[5] == 4000.0
    seen.upsert(node("node-b"))
    assert len(fit().fits) == 11
    assert asked == [10, 1, 2, 1, 11]


@pytest.mark.parametrize("changes", [0, 1, 5000, 8192, 8193, 20000])
def test_a_journal_tells_what_changed_or_that_it_has_forgotten(changes: int) -> None:
    journal = Journal()
    marks = [journal.mark]
    for number in range(changes):
        journal.note(number)
        marks.append(journal.mark)
    assert journal.since(marks[-1]) == []
    for mark in marks[:: max(1, changes // 7)]:
        told = journal.since(mark)
        assert told is None or told == list(range(mark, changes))
    assert journal.since(max(0, changes - 4000)) is not None
    assert (journal.since(0) is None) == (changes > 8192)


def test_what_is_free_in_a_pool_follows_capacity_and_claims() -> None:
    seen = snapshot(node("a", pools={"p": 4 * GIB}), node("b", pools={}))
    seen.take(held("v", "a", pools={"p": GIB}))
    seen.take(held("w", "b", pools={"p": GIB}))
    assert seen.free_storage("p").tolist() == [3 * GIB, NO_POOL]
    assert seen.free_storage("unheard-of").tolist() == [NO_POOL, NO_POOL]
    seen.share_pools(["p"])
    assert seen.free_storage("p").tolist() == [2 * GIB, NO_POOL]
    assert seen.has_storage("p", 2 * GIB).tolist() == [True, False]
    assert seen.has_storage("p", 2 * GIB + 1).tolist() == [False, False]
    seen.share_pools([])
    seen.upsert(node("b", pools={"p": 2 * GIB}))
    assert seen.free_storage("p").tolist() == [3 * GIB, GIB]
    seen.remove("a")
    seen.upsert(node("c", pools={"p": GIB}))
    assert seen.free_storage("p").tolist() == [GIB, GIB]
    assert seen.has_storage("unheard-of", 0).tolist() == [False, False]


def test_what_was_taken_is_given_back_whatever_is_said_of_it_then() -> None:
    seen = snapshot(node("a"))
    seen.take(held("v", "a"))
    seen.give_back(held("v", "a", cpu=4000, memory=0))
    assert (seen.free_cpu[0], seen.free_memory[0], seen.free_slots[0]) == (4000, 8 * GIB, 250)


def test_profiles_tell_their_rowwise_parts_apart() -> None:
    profile = DEFAULT_PROFILE
    assert [each.name for each in profile.rowwise] == ["Memory", "CPU", "Slots"]
    assert [score.name for _, score in profile.leading] == ["LeastAllocated", "BalancedAllocation"]
    assert (*profile.leading, *profile.following) == profile.scores
    asked = {each.name for each in (*profile.lasting, *profile.rowwise, *profile.passing)}
    assert asked == {each.name for each in FILTERS}
