"""nodeSelector and required nodeAffinity, over the Node's labels and its name.

Source: Kubernetes "Assigning Pods to Nodes": terms are ored, the expressions of a term anded, and a term without
expressions matches nothing.
"""

from collections.abc import Mapping

import numpy as np

from berth_api.selectors import NodeSelectorRequirement, NodeSelectorTerm
from berth_operator.scheduling.nodes import BoolArray, NodeFacts
from berth_operator.scheduling.plugins import Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def _compares(operator: str, value: str, bound: str) -> bool:
    try:
        left, right = int(value), int(bound)
    except ValueError:
        return False
    return left > right if operator == "Gt" else left < right


def _holds(requirement: NodeSelectorRequirement, values: Mapping[str, str]) -> bool:
    value = values.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return value is not None and _compares(requirement.operator, value, requirement.values[0])


def _matches(term: NodeSelectorTerm, node: NodeFacts) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": node.name}
    return all(_holds(rule, node.labels) for rule in term.match_expressions) and all(
        _holds(rule, fields) for rule in term.match_fields
    )


def _selects(request: Request, node: NodeFacts) -> bool:
    labels = node.labels
    if any(labels.get(key) != value for key, value in request.node_selector.items()):
        return False
    affinity = request.node_affinity
    return affinity is None or any(_matches(term, node) for term in affinity.node_selector_terms)


def keep(snapshot: Snapshot, request: Request) -> BoolArray:
    """Nodes whose labels match all that the VM requires of them."""
    if not request.node_selector and request.node_affinity is None:
        return np.ones(len(snapshot.nodes), dtype=np.bool_)
    return np.array([_selects(request, node) for node in snapshot.nodes.facts], dtype=np.bool_)


FILTER = Filter(
    "Selected", keep, "does not match nodeSelector or nodeAffinity", "do not match nodeSelector or nodeAffinity"
)
