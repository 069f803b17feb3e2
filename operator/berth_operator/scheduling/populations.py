"""How many VMs of which group are on which node, kept up as VMs come and go.

A group is counted from the first time that it is asked for; from then on every VM that comes or goes is matched against
the groups that its labels could concern, not against all of them. The other way round, the terms that placed VMs hold
are indexed by the labels they ask for, so a new VM finds the few that name it among thousands that do not.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import numpy as np

from berth_operator.scheduling.columns import ABSENT, CodeArray, Encoded
from berth_operator.scheduling.groups import Group, Intersection, Member, Term
from berth_operator.scheduling.nodes import BoolArray, IntArray

_MOST_GROUPS = 4096
_DENSE = 64
Pair = tuple[str, str]
Counted = Group | Intersection
T = TypeVar("T", bound=Hashable)


class Tally:
    """Amounts per row: sparse while few rows have any, an array from then on."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._dense: IntArray | None = None

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, row: int, amount: int) -> None:
        """Add to a row; what comes to 0 is forgotten."""
        total = self._rows.get(row, 0) + amount
        if total:
            self._rows[row] = total
        else:
            self._rows.pop(row, None)
        if self._dense is not None and row < len(self._dense):
            self._dense[row] = total
        elif len(self._rows) > _DENSE:
            self._dense = None

    def per_row(self, size: int) -> IntArray:
        """int64 per row. Not to be written to."""
        if self._dense is not None and len(self._dense) == size:
            return self._dense
        array = np.zeros(size, dtype=np.int64)
        if self._rows:
            array[self._indices()] = self._amounts()
        if len(self._rows) > _DENSE:
            self._dense = array
        return array

    def per_domain(self, topology: Encoded[str], eligible: BoolArray | None = None) -> IntArray:
        """int64 per code of a label's column: the sum over (eligible) nodes with that value, 0 for those without one.

        A snapshot's row count is the length of both.
        """
        codes = topology.codes
        if len(self._rows) <= _DENSE:
            rows = self._indices()
            codes, amounts = codes[rows], self._amounts()
            amounts = amounts if eligible is None else amounts * eligible[rows]
        else:
            amounts = self.per_row(len(codes))
            amounts = amounts if eligible is None else amounts * eligible
        sums = np.bincount(codes, weights=amounts, minlength=topology.width).astype(np.int64)
        sums[ABSENT] = 0
        return sums

    def domains(self, topology: Encoded[str]) -> CodeArray:
        """Codes of a label's column on whose nodes there are any; some of them more than once."""
        if len(self._rows) <= _DENSE:
            codes = topology.codes[self._indices()]
        else:
            codes = topology.codes[self.per_row(len(topology.codes)) != 0]
        return np.asarray(codes[codes != ABSENT])

    def _indices(self) -> IntArray:
        return np.fromiter(self._rows.keys(), dtype=np.int64, count=len(self._rows))

    def _amounts(self) -> IntArray:
        return np.fromiter(self._rows.values(), dtype=np.int64, count=len(self._rows))


class _Anchored(Generic[T]):
    """Things that ask for labels, found by a VM's labels: a superset of those that match."""

    def __init__(self) -> None:
        self._by_pair: dict[Pair, dict[T, None]] = {}
        self._everywhere: dict[T, None] = {}

    def add(self, thing: T, group: Counted) -> None:
        for place in self._places(group):
            place[thing] = None

    def discard(self, thing: T, group: Counted) -> None:
        for place in self._places(group):
            place.pop(thing, None)
        for pair in group.anchors() or ():
            if not self._by_pair.get(pair, True):
                del self._by_pair[pair]

    def candidates(self, member: Member) -> Iterator[T]:
        yield from self._everywhere
        seen: set[T] = set()
        for pair in member.label_pairs:
            for thing in self._by_pair.get(pair, ()):
                if thing not in seen:
                    seen.add(thing)
                    yield thing

    def _places(self, group: Counted) -> Iterable[dict[T, None]]:
        pairs = group.anchors()
        if pairs is None:
            return (self._everywhere,)
        return [self._by_pair.setdefault(pair, {}) for pair in pairs]


class HeldTerms:
    """Terms that placed VMs hold, with an amount per row (how many hold it, or the sum of their weights)."""

    def __init__(self, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self._namespaces = namespaces
        self._tallies: dict[Term, Tally] = {}
        self._index: _Anchored[Term] = _Anchored()

    def add(self, term: Term, row: int, amount: int) -> None:
        """Add to what is held on a row."""
        tally = self._tallies.get(term)
        if tally is None:
            tally = self._tallies[term] = Tally()
            self._index.add(term, term.group)
        tally.add(row, amount)
        if not tally:
            del self._tallies[term]
            self._index.discard(term, term.group)

    def naming(self, member: Member) -> Iterator[tuple[Term, Tally]]:
        """The terms that name a VM, and where they are held."""
        for term in self._index.candidates(member):
            if term.group.includes(member, self._namespaces):
                yield term, self._tallies[term]


class Populations:
    """Placed VMs by group and row. `namespaces`: labels of each namespace, kept up by whoever gives them."""

    def __init__(self) -> None:
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self._members: dict[Hashable, tuple[Member, int]] = {}
        self._by_pair: dict[Pair, dict[Hashable, None]] = {}
        self._tallies: OrderedDict[Counted, Tally] = OrderedDict()
        self._index: _Anchored[Counted] = _Anchored()
        self.repelling = HeldTerms(self.namespaces)
        """Required anti-affinity of placed VMs: how many hold each term."""
        self.attracting = HeldTerms(self.namespaces)
        """Preferences and required affinity of placed VMs: the sum of the weights."""

    def enter(self, key: Hashable, member: Member, row: int) -> None:
        """A VM takes its place."""
        self._members[key] = (member, row)
        for pair in member.label_pairs:
            self._by_pair.setdefault(pair, {})[key] = None
        self._count(member, row, 1)

    def leave(self, key: Hashable) -> None:
        """A VM gives up its place."""
        found = self._members.pop(key, None)
        if found is None:
            return
        member, row = found
        for pair in member.label_pairs:
            keys = self._by_pair[pair]
            del keys[key]
            if not keys:
                del self._by_pair[pair]
        self._count(member, row, -1)

    def tally(self, group: Counted) -> Tally:
        """How many VMs of a group are on each row."""
        known = self._tallies.get(group)
        if known is not None:
            self._tallies.move_to_end(group)
            return known
        tally = Tally()
        for member, row in self._candidates(group):
            if group.includes(member, self.namespaces):
                tally.add(row, 1)
        self._tallies[group] = tally
        self._index.add(group, group)
        if len(self._tallies) > _MOST_GROUPS:
            oldest, _ = self._tallies.popitem(last=False)
            self._index.discard(oldest, oldest)
        return tally

    def name_space(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """A namespace has these labels, or (None) is gone. True if that changes who belongs to which group."""
        if self.namespaces.get(name) == labels:
            return False
        if labels is None:
            del self.namespaces[name]
        else:
            self.namespaces[name] = labels
        for group in [group for group in self._tallies if group.by_namespace]:
            del self._tallies[group]
            self._index.discard(group, group)
        return True

    def _candidates(self, group: Counted) -> Iterator[tuple[Member, int]]:
        pairs = group.anchors()
        if pairs is None:
            yield from self._members.values()
            return
        for pair in pairs:
            for key in self._by_pair.get(pair, ()):
                yield self._members[key]

    def _count(self, member: Member, row: int, sign: int) -> None:
        for group in self._index.candidates(member):
            if group.includes(member, self.namespaces):
                self._tallies[group].add(row, sign)
        for term in member.anti_affinity:
            self.repelling.add(term, row, sign)
        for each in member.attractions:
            self.attracting.add(each.term, row, sign * each.weight)
