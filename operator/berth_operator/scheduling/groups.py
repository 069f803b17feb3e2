"""Groups of VMs as affinity terms and spread constraints name them, and what a VM brings to the groups of others.

Source: Kubernetes "Inter-pod affinity and anti-affinity", "Pod Topology Spread Constraints". A term's namespaces are
those it lists and those its namespaceSelector matches; where both are left out, the VM's own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from berth_api.selectors import VMAffinity, VMAffinityTerm
from berth_api.virtualmachines import VirtualMachine
from berth_operator.scheduling.selectors import Labels, Selector, labels_of

HARD_AFFINITY_WEIGHT = 1
"""What a placed VM's required affinity adds to the score of a VM that it wants near: kube-scheduler's default."""


@dataclass(frozen=True)
class Group:
    """VMs by their labels and namespaces. A selector of None matches no VM."""

    selector: Selector | None
    namespaces: frozenset[str]
    namespace_selector: Selector | None = None

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.selector, self.namespaces, self.namespace_selector))

    def includes(self, member: "Member", namespace_labels: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether a VM belongs to it."""
        if self.selector is None or not self.selector.matches(member.labels):
            return False
        if member.namespace in self.namespaces:
            return True
        chosen = self.namespace_selector
        return chosen is not None and chosen.matches(namespace_labels.get(member.namespace, {}))

    def anchors(self) -> tuple[tuple[str, str], ...] | None:
        """Label pairs of which each of its VMs has one; None where that cannot be said."""
        return () if self.selector is None else self.selector.anchors()

    @property
    def by_namespace(self) -> bool:
        """Whether namespaces' labels decide who belongs to it."""
        return self.namespace_selector is not None

    def __str__(self) -> str:
        return "nothing" if self.selector is None else str(self.selector)


@dataclass(frozen=True)
class Intersection:
    """VMs that belong to all of these groups, of which there is at least one."""

    groups: tuple[Group, ...]

    def includes(self, member: "Member", namespace_labels: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether a VM belongs to all."""
        return all(group.includes(member, namespace_labels) for group in self.groups)

    def anchors(self) -> tuple[tuple[str, str], ...] | None:
        """Label pairs of which each of its VMs has one; None where that cannot be said."""
        return next((found for group in self.groups if (found := group.anchors()) is not None), None)

    @property
    def by_namespace(self) -> bool:
        """Whether namespaces' labels decide who belongs to it."""
        return any(group.by_namespace for group in self.groups)


@dataclass(frozen=True)
class Term:
    """A group, and the label of nodes by whose value nodes count as one place."""

    group: Group
    topology_key: str

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.group, self.topology_key))


@dataclass(frozen=True)
class Weighted:
    """A preferred term; a negative weight keeps away."""

    weight: int
    term: Term


@dataclass(frozen=True)
class Spread:
    """A topology spread constraint over VMs of the VM's own namespace."""

    group: Group
    topology_key: str
    max_skew: int
    min_domains: int = 1


@dataclass(frozen=True)
class Member:
    """A VM as groups see it, and the terms that it holds itself."""

    namespace: str = ""
    label_pairs: Labels = ()
    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[Weighted, ...] = ()

    @cached_property
    def labels(self) -> dict[str, str]:
        """The VM's labels."""
        return dict(self.label_pairs)

    @cached_property
    def attractions(self) -> tuple[Weighted, ...]:
        """What it adds, once placed, to the score of VMs that its terms name."""
        return (*self.preferred, *(Weighted(HARD_AFFINITY_WEIGHT, term) for term in self.affinity))


def member_of(vm: VirtualMachine) -> Member:
    """The VM as groups see it, by its labels and its spec."""
    namespace, affinity = vm.metadata.namespace, vm.spec.affinity
    labels = labels_of(vm.metadata.labels)
    if affinity is None:
        return Member(namespace, labels)
    near, away = affinity.vm_affinity, affinity.vm_anti_affinity
    return Member(
        namespace,
        labels,
        affinity=_required(near, namespace),
        anti_affinity=_required(away, namespace),
        preferred=(*_preferred(near, namespace, 1), *_preferred(away, namespace, -1)),
    )


def own_group(selector: Selector | None, namespace: str) -> Group:
    """VMs of one namespace."""
    return Group(selector, frozenset({namespace}))


def _required(affinity: VMAffinity | None, namespace: str) -> tuple[Term, ...]:
    if affinity is None:
        return ()
    return tuple(_term(term, namespace) for term in affinity.required_during_scheduling_ignored_during_execution)


def _preferred(affinity: VMAffinity | None, namespace: str, sign: int) -> Iterable[Weighted]:
    if affinity is not None:
        for each in affinity.preferred_during_scheduling_ignored_during_execution:
            yield Weighted(sign * each.weight, _term(each.vm_affinity_term, namespace))


def _term(term: VMAffinityTerm, namespace: str) -> Term:
    chosen = Selector.of(term.namespace_selector) if term.namespace_selector is not None else None
    listed = frozenset(term.namespaces)
    if chosen is None and not listed:
        listed = frozenset({namespace})
    selector = Selector.of(term.label_selector) if term.label_selector is not None else None
    return Term(Group(selector, listed, chosen), term.topology_key)
