"""Label selectors, compiled: hashable, so that equal ones are counted once, and quick to ask.

Source: Kubernetes labels and selectors, and "Assigning Pods to Nodes". For VMs' and namespaces' labels: a selector that
was left out matches nothing, an empty one everything. For nodes: terms are ored, the expressions of a term anded, and
a term without expressions matches nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from berth_api.selectors import LabelSelector, NodeSelectorRequirement, NodeSelectorTerm

Labels = tuple[tuple[str, str], ...]
"""Labels as sorted pairs: hashable."""


def labels_of(mapping: Mapping[str, str]) -> Labels:
    """The same labels as pairs."""
    return tuple(sorted(mapping.items()))


@dataclass(frozen=True)
class Requirement:
    """One expression over the value of a key; None stands for a key that is not there."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, value: str | None) -> bool:
        """Whether a value satisfies it."""
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case _:
                return value is not None and _compares(self.operator, value, self.values[0])

    def __str__(self) -> str:
        match self.operator:
            case "In" if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case "In" | "NotIn":
                return f"{self.key} {self.operator.lower()} ({', '.join(self.values)})"
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
            case _:
                return f"{self.key} {'>' if self.operator == 'Gt' else '<'} {self.values[0]}"


def _compares(operator: str, value: str, bound: str) -> bool:
    left, right = _integer(value), _integer(bound)
    if left is None or right is None:
        return False
    return left > right if operator == "Gt" else left < right


def _integer(text: str) -> int | None:
    """A decimal integer of 64 bits; None for what Kubernetes does not take for one, such as 1_000."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdecimal()):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


@dataclass(frozen=True)
class Selector:
    """Requirements over labels, all of which must hold."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def of(cls, selector: LabelSelector) -> "Selector":
        """The compiled form of an API object's selector."""
        equal = [Requirement(key, "In", (value,)) for key, value in selector.match_labels.items()]
        rest = [Requirement(e.key, e.operator, tuple(sorted(set(e.values)))) for e in selector.match_expressions]
        return cls(tuple(sorted([*equal, *rest], key=lambda r: (r.key, r.operator, r.values))))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether all requirements hold."""
        for requirement in self.requirements:  # noqa: SIM110 - asked of every VM that a group could concern
            if not requirement.holds(labels.get(requirement.key)):
                return False
        return True

    def anchors(self) -> tuple[tuple[str, str], ...] | None:
        """Label pairs of which one must be there; None where no requirement says so: an index's key."""
        listed = [requirement for requirement in self.requirements if requirement.operator == "In"]
        if not listed:
            return None
        best = min(listed, key=lambda requirement: len(requirement.values))
        return tuple((best.key, value) for value in best.values)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements)) or "all VMs"


@dataclass(frozen=True)
class NodeTerm:
    """Expressions over a node's labels and fields, all of which must hold; without any it matches nothing."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    @classmethod
    def of(cls, term: NodeSelectorTerm) -> "NodeTerm":
        """The compiled form of an API object's term."""
        return cls(_requirements(term.match_expressions), _requirements(term.match_fields))


def _requirements(expressions: Iterable[NodeSelectorRequirement]) -> tuple[Requirement, ...]:
    return tuple(Requirement(each.key, each.operator, tuple(each.values)) for each in expressions)
