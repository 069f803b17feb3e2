"""Prometheus' queries, read by a parser of its language, against the metrics that there really are.

A query that names a label which its metric has not got is not an error to Prometheus: it finds nothing, for ever.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache

import promql_parser as promql
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from tests.fakes.api import FakeApi

from berth_agent.guestfigures import GuestFigures
from berth_agent.metrics import AgentMetrics
from berth_operator.apimetrics import MeteredApi
from berth_operator.metrics import Metrics

TARGET = frozenset({"instance", "job", "pod"})
"""What Prometheus itself puts on every series, by what was scraped."""
ON_A_NODE = re.compile(r"berth_(agent|vm)_|up$")
"""Series that agents are behind: the chart's PodMonitor gives these the label `node`."""
KUBE_STATE = {
    f"kube_daemonset_status_{name}": frozenset({"namespace", "daemonset"})
    for name in ("desired_number_scheduled", "number_ready")
}
"""Of kube-state-metrics, by its documentation (docs/metrics/workload/daemonset-metrics.md), what alerts ask for."""
_HISTOGRAM = ("bucket", "sum", "count")
_WITHOUT_LABELS = frozenset({"absent", "scalar", "vector"})
_KEEPING = ("topk", "bottomk")
"""Aggregations that choose series, and leave them their labels."""


class UnknownLabelError(Exception):
    """A query names a label that nothing has which it asks for."""


class UnknownMetricError(Exception):
    """A query asks for a metric that neither operators nor agents have."""


@cache
def series() -> Mapping[str, frozenset[str]]:
    """The labels of every series that operators and agents serve, and of Prometheus' own, by the series' name."""
    operator, agent = CollectorRegistry(), AgentMetrics(CollectorRegistry())
    Metrics(operator, profiles=["default"], filters=["Memory"])
    MeteredApi(FakeApi(), operator)
    agent.registry.register(GuestFigures(lambda: 0.0))
    found: dict[str, frozenset[str]] = {"up": frozenset(), **KUBE_STATE}
    for registry in (operator, agent.registry):
        for collector in list(registry._collector_to_names):
            for family in collector.collect():
                declared = collector if isinstance(collector, MetricWrapperBase) else family
                labels = frozenset(getattr(declared, "_labelnames", ()))
                found.update(_named(family.name, family.type, labels))
    return found


def _named(name: str, kind: str, labels: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    if kind == "histogram":
        yield from ((f"{name}_{part}", labels | ({"le"} if part == "bucket" else frozenset())) for part in _HISTOGRAM)
    else:
        yield f"{name}_total" if kind == "counter" else name, labels


def labels_of(query: str) -> frozenset[str]:
    """The labels of what a query finds.

    Raises:
        ValueError: It is no query.
        UnknownMetricError: It asks for what there is not.
        UnknownLabelError: It selects or sums by a label that is not there.
    """
    return _labels(promql.parse(query))


def _labels(node: promql.Expr) -> frozenset[str]:
    found: frozenset[str] = frozenset()  # of a number, or a string
    match node:
        case promql.VectorSelector():
            found = _selected(node)
        case promql.MatrixSelector():
            found = _selected(node.vector_selector)
        case promql.AggregateExpr():
            found = _aggregated(node)
        case promql.Call():
            found = found.union(*map(_labels, node.args))
            found -= {"le"} if node.func.name == "histogram_quantile" else frozenset()
            found = frozenset() if node.func.name in _WITHOUT_LABELS else found
        case promql.BinaryExpr():
            found = _labels(node.lhs) or _labels(node.rhs)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            found = _labels(node.expr)
    return found


def _selected(selector: promql.VectorSelector) -> frozenset[str]:
    if selector.name is None or selector.name not in series():
        raise UnknownMetricError(f"nobody serves {selector.prettify()}")
    labels = series()[selector.name] | TARGET | ({"node"} if ON_A_NODE.match(selector.name) else frozenset())
    _check(frozenset(matcher.name for matcher in selector.matchers.matchers), labels, selector)
    return labels


def _aggregated(node: promql.AggregateExpr) -> frozenset[str]:
    inner = _labels(node.expr)
    if node.modifier is None:
        return inner if node.prettify().lstrip().startswith(_KEEPING) else frozenset()
    named = frozenset(node.modifier.labels)
    _check(named, inner, node)
    return named if node.modifier.type == promql.AggModifierType.By else inner - named


def _check(named: frozenset[str], there: frozenset[str], node: promql.Expr) -> None:
    unknown = sorted(named - there)
    if unknown:
        raise UnknownLabelError(f"{', '.join(unknown)}: there is {', '.join(sorted(there))} in {node.prettify()}")
