"""Selectors, affinity, tolerations and spread: exactly the core types, with `vmAffinity` where Pods have `podAffinity`.

Source: Kubernetes core/v1 and meta/v1; the meanings are the Pod's.
"""

from typing import Annotated, Literal

from pydantic import Field

from berth_api.markers import Cel, InWords
from berth_api.objects import Model

MAX_TERMS = 32

LabelValue = Annotated[
    str,
    Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"),
    InWords(
        "must be a label's value: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
    ),
]
"""The value of a label."""


class LabelSelectorRequirement(Model):
    """One expression of a label selector."""

    key: Annotated[str, Field(max_length=317)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=64)] = ()

    rules = (
        Cel(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "values must be given for In and NotIn, and left out for Exists and DoesNotExist",
        ),
    )


class LabelSelector(Model):
    """Matches labels; all of it must hold. An empty selector matches everything."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=64)] = Field(default_factory=dict)
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], Field(max_length=MAX_TERMS)] = ()


class NodeSelectorRequirement(Model):
    """One expression over a node's labels or fields."""

    key: Annotated[str, Field(max_length=317)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: Annotated[tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=64)] = ()

    rules = (
        Cel(
            "(self.operator in ['Exists', 'DoesNotExist']) == (!has(self.values) || size(self.values) == 0)",
            "values must be left out for Exists and DoesNotExist, and given for every other operator",
        ),
        Cel(
            "!(self.operator in ['Gt', 'Lt'])"
            " || (has(self.values) && size(self.values) == 1 && self.values[0].matches('^-?[0-9]+$'))",
            "Gt and Lt take exactly one value, an integer",
        ),
    )


class NodeSelectorTerm(Model):
    """All expressions of a term must hold; an empty term matches nothing."""

    match_expressions: Annotated[tuple[NodeSelectorRequirement, ...], Field(max_length=MAX_TERMS)] = ()
    match_fields: Annotated[tuple[NodeSelectorRequirement, ...], Field(max_length=MAX_TERMS)] = ()


class NodeSelector(Model):
    """One of the terms must hold."""

    node_selector_terms: Annotated[tuple[NodeSelectorTerm, ...], Field(min_length=1, max_length=MAX_TERMS)]


class PreferredSchedulingTerm(Model):
    """A node selector term that adds `weight` to the score of a node it matches."""

    weight: Annotated[int, Field(ge=1, le=100)]
    preference: NodeSelectorTerm


class NodeAffinity(Model):
    """Which nodes the VM must or should run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredSchedulingTerm, ...], Field(max_length=MAX_TERMS)
    ] = ()
    """A node scores by the sum of the weights of the terms that match it."""


class VMAffinityTerm(Model):
    """VMs (by labels and namespace) that share, or must not share, a topology domain with this one."""

    label_selector: LabelSelector | None = None
    """Left out: no VM. Empty: every VM."""
    namespaces: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=64)] = ()
    """Left out, and namespaceSelector with it: the VM's own namespace."""
    namespace_selector: LabelSelector | None = None
    """Namespaces by their labels, beside those named. Empty: every namespace."""
    topology_key: Annotated[str, Field(min_length=1, max_length=317)]
    """The label of nodes whose equal values make a domain, such as kubernetes.io/hostname."""


class WeightedVMAffinityTerm(Model):
    """An affinity term that is preferred, with a weight."""

    weight: Annotated[int, Field(ge=1, le=100)]
    vm_affinity_term: VMAffinityTerm


class VMAffinity(Model):
    """Near to, or away from, which other VMs."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[VMAffinityTerm, ...], Field(max_length=MAX_TERMS)
    ] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[WeightedVMAffinityTerm, ...], Field(max_length=MAX_TERMS)
    ] = ()
    """A node scores by the VMs in its domain that the terms match, times their weights."""


class Affinity(Model):
    """Scheduling constraints by nodes and by other VMs."""

    node_affinity: NodeAffinity | None = None
    vm_affinity: VMAffinity | None = None
    vm_anti_affinity: VMAffinity | None = None


class Toleration(Model):
    """Lets the VM run on nodes with a matching taint."""

    key: Annotated[str, Field(max_length=317)] = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: Annotated[str, Field(max_length=63)] = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    toleration_seconds: int | None = None
    """Not honoured yet: a VM that runs is not taken off a node for a taint."""

    rules = (
        Cel(
            "(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')",
            "a toleration without a key matches every taint: give a key, or operator Exists",
        ),
        Cel(
            "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "operator Exists takes no value: leave value out",
        ),
        Cel(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds is for effect NoExecute only",
        ),
    )


class TopologySpreadConstraint(Model):
    """How evenly VMs that match the selector spread over a topology."""

    max_skew: Annotated[int, Field(ge=1)]
    topology_key: Annotated[str, Field(min_length=1, max_length=317)]
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """DoNotSchedule: a node that would make the spread more uneven than maxSkew is left out. ScheduleAnyway: nodes
    score by how even the spread would be."""
    label_selector: LabelSelector | None = None
    """Which VMs of the same namespace are counted. Left out: none. Empty: all."""
    min_domains: Annotated[int, Field(ge=1)] | None = None
    """While fewer domains than this are eligible, the fewest VMs in any domain count as 0."""

    rules = (
        Cel(
            "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
            "minDomains is for whenUnsatisfiable DoNotSchedule only",
        ),
    )
