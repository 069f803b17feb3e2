"""What the scheduler counts, and how it is served for Prometheus.

Counters and histograms are written where things happen: their label children are resolved beforehand, so that a bound
VM costs microseconds. How much there *is* of something (who waits, what is being written) is not counted along: it is
read when somebody asks, in the event loop, where it is consistent between two awaits, and cannot drift.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import get_args

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from berth_api.serving import CannotServe
from berth_api.serving import serving as serving_pages
from berth_api.virtualmachines import Phase
from berth_operator.lifemetrics import LifeMetrics
from berth_operator.scheduling.entries import State

__all__ = ["CannotServe", "Levels", "Metrics", "new_registry", "serving"]

BOUND, UNSCHEDULABLE, ERROR = "bound", "unschedulable", "error"
UNKNOWN_PROFILE = "unknown"
"""Stands for every profile that is not configured: what users write must not make up label values."""
DECISION_BUCKETS = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)
BINDING_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(frozen=True)
class Levels:
    """How much there is of everything at one moment."""

    queue: Mapping[State, int] = field(default_factory=dict)
    """VMs that want a berth, by their state in the queue."""
    parked: Mapping[str, int] = field(default_factory=dict)
    """Parked VMs by filter; a VM counts for every filter that turned down a node for it."""
    writes: int = 0
    """Bindings that are being written."""
    claims: int = 0
    """Claims in the ledger, assumed ones included."""
    phases: Mapping[str, int] = field(default_factory=dict)
    """VMs by phase."""
    tasks: int = 0
    """Objects that wait to be looked at."""
    anchors: Mapping[str, int] = field(default_factory=dict)
    """Nodes by the state of their anchor."""


class _LevelsCollector(Collector):
    """Asks for the levels at each scrape."""

    def __init__(self) -> None:
        self.read: Callable[[], Levels] = Levels

    def collect(self) -> Iterator[Metric]:
        levels = self.read()
        queue = GaugeMetricFamily(
            "berth_scheduler_queue_virtualmachines", "VMs that want a berth, by state", labels=["state"]
        )
        for state in State:
            queue.add_metric([state.name.lower()], levels.queue.get(state, 0))
        parked = GaugeMetricFamily(
            "berth_scheduler_unschedulable_virtualmachines",
            "VMs that no node takes, by filter that turned down nodes; a VM counts for each",
            labels=["filter"],
        )
        for name, count in sorted(levels.parked.items()):
            parked.add_metric([name], count)
        phases = GaugeMetricFamily("berth_virtualmachines", "VMs by phase", labels=["phase"])
        for phase in get_args(Phase):
            phases.add_metric([phase], levels.phases.get(phase, 0))
        yield phases
        yield GaugeMetricFamily(
            "berth_operator_work_queue_objects", "Objects that wait to be looked at", value=levels.tasks
        )
        yield queue
        yield parked
        yield GaugeMetricFamily(
            "berth_scheduler_writes_in_flight", "Bindings that are being written", value=levels.writes
        )
        yield GaugeMetricFamily("berth_scheduler_claims", "Claims that the ledger counts", value=levels.claims)
        anchors = GaugeMetricFamily("berth_anchor_nodes", "Nodes by the state of their anchor Pod", labels=["state"])
        for state_of_anchor, count in sorted(levels.anchors.items()):
            anchors.add_metric([state_of_anchor], count)
        yield anchors


class Metrics:
    """The scheduler's own figures. Not for threads: call it, and have it scraped, in one event loop.

    Args:
        registry: Where they are found; two of these need two registries.
        profiles: Names of all profiles.
        filters: Names of all filters.
    """

    def __init__(self, registry: CollectorRegistry, *, profiles: Iterable[str], filters: Iterable[str]) -> None:
        attempts = Counter(
            "berth_scheduler_attempts", "Decisions by how they ended", ["result", "profile"], registry=registry
        )
        names = (*profiles, UNKNOWN_PROFILE)
        self._bound = {name: attempts.labels(BOUND, name) for name in names}
        self._unschedulable = {name: attempts.labels(UNSCHEDULABLE, name) for name in names}
        self._failed = {name: attempts.labels(ERROR, name) for name in names}
        self._decision = Histogram(
            "berth_scheduler_decision_duration_seconds",
            "Time to choose a node, or to find that there is none",
            buckets=DECISION_BUCKETS,
            registry=registry,
        )
        self._binding = Histogram(
            "berth_scheduler_binding_duration_seconds",
            "Time from when a VM was first seen to want a berth until it is bound",
            buckets=BINDING_BUCKETS,
            registry=registry,
        )
        rejections = Counter(
            "berth_scheduler_filter_rejections", "Nodes that a filter turned down", ["filter"], registry=registry
        )
        self._rejections = {name: rejections.labels(name) for name in filters}
        self._refusals = Counter(
            "berth_scheduler_claims_refused", "Claims that the node's agent refused", registry=registry
        )
        self._conflicts = Counter(
            "berth_scheduler_conflicts",
            "Bindings that were not written, as the VM had changed since the decision",
            registry=registry,
        )
        self._leading = Gauge(
            "berth_operator_leading", "1 while this operator leads, 0 while it stands by", registry=registry
        )
        self._epoch = Gauge(
            "berth_scheduler_leader_epoch", "Epoch in which this operator leads, 0 while it does not", registry=registry
        )
        self._anchors = Counter(
            "berth_anchor_writes", "Writes of anchor Pods and their budgets", ["action"], registry=registry
        )
        self._anchor_refusals = Counter(
            "berth_anchor_refusals",
            "Writes of anchor Pods and their budgets that the server refused",
            registry=registry,
        )
        self.lives = LifeMetrics(registry)
        """Of VMs' lives."""
        self._levels = _LevelsCollector()
        registry.register(self._levels)

    def decided(self, seconds: float) -> None:
        """A decision was made, whichever, and took this long."""
        self._decision.observe(seconds)

    def bound(self, profile: str, waited: float) -> None:
        """A binding is written.

        Args:
            profile: By which the node was chosen.
            waited: Seconds since the VM was created. A creationTimestamp has whole seconds only: where the VM was seen
                to appear, count from then.
        """
        (self._bound.get(profile) or self._bound[UNKNOWN_PROFILE]).inc()
        self._binding.observe(max(0.0, waited))

    def unschedulable(self, profile: str, by_filter: Mapping[str, int]) -> None:
        """No node takes a VM.

        Args:
            profile: By which they were asked.
            by_filter: How many nodes each filter turned down; empty where the VM joined others of its shape.
        """
        (self._unschedulable.get(profile) or self._unschedulable[UNKNOWN_PROFILE]).inc()
        for name, count in by_filter.items():
            self._rejections[name].inc(count)

    def failed(self, profile: str) -> None:
        """An attempt ended in an error, and is repeated."""
        (self._failed.get(profile) or self._failed[UNKNOWN_PROFILE]).inc()

    def refused(self) -> None:
        """A node's agent refused a claim."""
        self._refusals.inc()

    def conflicted(self) -> None:
        """The API server did not take a binding, as the VM had changed."""
        self._conflicts.inc()

    def anchor_written(self, action: str) -> None:
        """An anchor was created, resized or deleted, or its budget made or lifted."""
        self._anchors.labels(action).inc()

    def anchor_refused(self) -> None:
        """The API server did not take an anchor or its budget as it was to be."""
        self._anchor_refusals.inc()

    def leads(self, epoch: int | None) -> None:
        """This operator leads in an epoch, or (None) no longer."""
        self._epoch.set(epoch or 0)
        self._leading.set(epoch is not None)
        self.lives.counts = epoch is not None

    def follow(self, levels: Callable[[], Levels]) -> None:
        """Ask for the levels here from now on, at each scrape."""
        self._levels.read = levels


def new_registry() -> CollectorRegistry:
    """An empty registry, apart from what the process itself takes: memory, CPU, open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


@asynccontextmanager
async def serving(url: str | None, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Serve a registry for as long as the context lasts.

    Args:
        url: For example `http://[::]:9090/metrics`: the address and port to listen at, and the path. None: nowhere.
        registry: What to serve.

    Raises:
        CannotServe: Nobody may listen there, or somebody else does.
    """
    if url is None:
        yield
        return
    async with serving_pages({url: metrics_page(registry)}):
        yield


def metrics_page(registry: CollectorRegistry) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The registry as a page for Prometheus."""

    async def answer(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    return answer
