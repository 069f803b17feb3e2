"""Who is where: tallies by group and terms that are held, against plain counting."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operator.scheduling import reference
from tests.unit.operator.scheduling.clusters import NAMESPACES, Dice, member

from berth_operator.scheduling.columns import Encoded
from berth_operator.scheduling.groups import Group, Intersection, Member, Term
from berth_operator.scheduling.populations import Populations, Tally
from berth_operator.scheduling.selectors import Requirement, Selector

KINDS = frozenset({"vmAffinity", "vmAntiAffinity", "preferredVMs"})


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(-2, 3)), max_size=400), st.integers(100, 101))
@settings(deadline=None)
def test_a_tally_counts_sparsely_and_densely_alike(changes: list[tuple[int, int]], rows: int) -> None:
    tally, plain = Tally(), Counter[int]()
    zones = Encoded([None if row % 7 == 0 else f"zone-{row % 3}" for row in range(rows)])
    eligible = zones.where(lambda zone: zone != "zone-1")
    for number, (row, amount) in enumerate(changes):
        tally.add(row, amount)
        plain[row] += amount
        if number % 50 == 0:
            tally.per_row(rows)
    assert tally.per_row(rows).tolist() == [plain[row] for row in range(rows)]
    assert bool(tally) == any(plain.values())
    for only in (None, eligible):
        counted = [row for row in range(rows) if zones.codes[row] and (only is None or only[row])]
        expected = [sum(plain[row] for row in counted if zones.codes[row] == code) for code in range(zones.width)]
        assert tally.per_domain(zones, only).tolist() == expected
    anywhere = {int(zones.codes[row]) for row, amount in plain.items() if amount} - {0}
    assert set(tally.domains(zones).tolist()) == anywhere


def test_a_dense_tally_grows_with_the_nodes() -> None:
    tally = Tally()
    for row in range(100):
        tally.add(row, 1)
    assert tally.per_row(100).sum() == 100
    tally.add(100, 5)
    assert tally.per_row(101).tolist() == [1] * 100 + [5]
    for row in range(90):
        tally.add(row, -1)
    assert tally.per_row(101).tolist() == [0] * 90 + [1] * 10 + [5]
    tally.add(101, 7)
    assert tally.per_row(102).tolist() == [0] * 90 + [1] * 10 + [5, 7]


class Crowd:
    """Populations, and beside them who is there, in a plain dictionary."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.populations = Populations()
        self.there: dict[int, tuple[Member, int]] = {}
        self.namespaces: dict[str, dict[str, str]] = {}

    def dice(self, part: object) -> Dice:
        return Dice(f"{self.seed}/{part}")

    def belongs(self, who: Member, group: Group) -> bool:
        return reference.belongs(reference.World(namespaces=self.namespaces), who, group)

    def enter(self, number: int) -> None:
        if number not in self.there:
            dice = self.dice(("vm", number))
            self.there[number] = member(dice, KINDS), dice.randint(0, 5)
            self.populations.enter(number, *self.there[number])

    def leave(self, number: int) -> None:
        self.there.pop(number, None)
        self.populations.leave(number)

    def rename(self, number: int) -> None:
        dice = self.dice(("namespace", number))
        name, labels = dice.choice(NAMESPACES), dice.labels() if dice.chance(0.7) else None
        self.namespaces.pop(name, None)
        if labels is not None:
            self.namespaces[name] = labels
        self.populations.name_space(name, labels)

    def ask(self, number: int) -> None:
        self.ask_for_groups(number)
        self.ask_for_terms(number)

    def ask_for_groups(self, number: int) -> None:
        groups = [self.dice(("group", number + more)).group() for more in range(3)]
        for group in groups:
            expected = Counter(row for who, row in self.there.values() if self.belongs(who, group))
            assert dict(self.populations.tally(group)._rows) == expected
        several = Intersection(tuple(groups[:2]))
        in_both = (row for who, row in self.there.values() if all(self.belongs(who, one) for one in several.groups))
        assert dict(self.populations.tally(several)._rows) == Counter(in_both)

    def ask_for_terms(self, number: int) -> None:
        stranger = member(self.dice(("stranger", number)), KINDS)
        repelling: dict[Term, Counter[int]] = {}
        attracting: dict[Term, Counter[int]] = {}
        for who, row in self.there.values():
            for term in who.anti_affinity:
                repelling.setdefault(term, Counter())[row] += 1
            for each in who.preferred:
                attracting.setdefault(each.term, Counter())[row] += each.weight
            for term in who.affinity:
                attracting.setdefault(term, Counter())[row] += 1
        for held, expected in ((self.populations.repelling, repelling), (self.populations.attracting, attracting)):
            found = {term: dict(tally._rows) for term, tally in held.naming(stranger)}
            amounts = {term: {row: n for row, n in rows.items() if n} for term, rows in expected.items()}
            assert found == {t: rows for t, rows in amounts.items() if rows and self.belongs(stranger, t.group)}


STEPS = ("enter", "enter", "enter", "leave", "rename", "ask")


@given(st.integers(0, 2**32), st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 12)), max_size=80))
@settings(deadline=None)
def test_populations_count_who_is_there(seed: int, happening: list[tuple[str, int]]) -> None:
    crowd = Crowd(seed)
    for what, number in happening:
        getattr(crowd, what)(number)
    for number in range(10):
        crowd.ask(number)
    for number in list(crowd.there):
        crowd.leave(number)
    populations = crowd.populations
    assert not populations._members
    assert not populations._by_pair
    for held in (populations.repelling, populations.attracting):
        assert (held._tallies, held._index._everywhere, held._index._by_pair) == ({}, {}, {})
    assert not any(populations._tallies.values())


def test_groups_that_nobody_asks_for_are_forgotten() -> None:
    populations = Populations()
    for number in range(5000):
        wanted = Selector((Requirement("app", "In", (str(number),)),))
        populations.tally(Group(wanted, frozenset({"ns"})))
    assert len(populations._tallies) == 4096
    assert len(populations._index._by_pair) == 4096
    populations.enter("v", Member("ns", (("app", "0"),)), 3)
    assert populations.tally(Group(Selector((Requirement("app", "In", ("0",)),)), frozenset({"ns"})))._rows == {3: 1}


def test_only_another_set_of_labels_changes_a_namespace() -> None:
    populations = Populations()
    assert populations.name_space("a", {"x": "y"})
    assert not populations.name_space("a", {"x": "y"})
    assert populations.name_space("a", None)
    assert not populations.name_space("a", None)
