"""Ordered sets in which items move, against a dictionary that is sorted."""

from hypothesis import given
from hypothesis import strategies as st

from berth_operator.scheduling.ranks import Ranked, Turns

ITEMS, RANKS = st.sampled_from("abcdef"), st.integers(0, 9)
SET = st.tuples(st.just("set"), ITEMS, RANKS)
DISCARD = st.tuples(st.just("discard"), ITEMS, RANKS)
DUE = st.tuples(st.just("due"), ITEMS, RANKS)
TURN = st.sampled_from(["take", "give", "move", "discard", "renew"])


@given(st.lists(st.one_of(SET, SET, DISCARD, DUE), max_size=300))
def test_it_is_a_dictionary_sorted_by_value(steps: list[tuple[str, str, int]]) -> None:
    ranked: Ranked[str, int] = Ranked()
    model: dict[str, int] = {}
    for what, item, rank in steps:
        if what == "set":
            ranked.set(item, rank)
            model[item] = rank
        elif what == "discard":
            ranked.discard(item)
            model.pop(item, None)
        else:
            taken = list(ranked.due(rank))
            assert sorted(taken) == sorted(name for name, held in model.items() if held <= rank)
            ranks = [model.pop(name) for name in taken]
            assert ranks == sorted(ranks)
        assert len(ranked) == len(model)
        assert set(ranked) == set(model)
        assert ranked.first_rank() == min(model.values(), default=None)
        first = ranked.first()
        assert (first is None) == (not model)
        assert first is None or model[first] == ranked.first_rank()


def test_what_is_due_comes_lowest_first_and_twins_in_the_order_of_their_coming() -> None:
    ranked: Ranked[str, int] = Ranked()
    for item, rank in (("c", 3), ("b", 1), ("a", 1), ("d", 9)):
        ranked.set(item, rank)
    assert list(ranked.due(3)) == ["b", "a", "c"]


def test_items_that_move_a_lot_take_no_more_memory() -> None:
    ranked: Ranked[int, int] = Ranked()
    for rank in range(10_000):
        ranked.set(rank % 10, 10_000 - rank)
    assert len(ranked._heap) < 100


@given(st.lists(st.tuples(TURN, ITEMS, RANKS), max_size=60))
def test_each_item_has_its_turn_open_or_taken(steps: list[tuple[str, str, int]]) -> None:
    turns: Turns[str, int] = Turns()
    model: dict[str, tuple[bool, int]] = {}
    for what, item, rank in steps:
        if what == "renew":
            turns.renew()
            model = {name: (True, held) for name, (_, held) in model.items()}
        elif what == "discard":
            turns.discard(item)
            model.pop(item, None)
        elif what == "move":
            turns.move(item, rank)
            if item in model:
                model[item] = (model[item][0], rank)
        else:
            getattr(turns, what)(item, rank)
            model[item] = (what == "give", rank)
        for ranked, is_open in ((turns.open, True), (turns.taken, False)):
            held = {name: rank for name, (opened, rank) in model.items() if opened is is_open}
            assert set(ranked) == set(held)
            assert ranked.first_rank() == min(held.values(), default=None)
        assert all((name in turns) == (name in model) for name in "abcdef")


def test_giving_all_a_turn_moves_only_the_fewer() -> None:
    turns: Turns[int, int] = Turns()
    for number in range(100):
        turns.take(number, number)
    turns.give(100, 100)
    many = turns.taken
    turns.renew()
    assert turns.open is many
    assert len(turns.open) == 101
