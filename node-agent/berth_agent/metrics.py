"""What the agent counts, for Prometheus. docs/metrics.md says what each figure means.

Counters and histograms are written where things happen. How much there *is* of something (who waits, VMs by phase, what
the guests use) is read when somebody asks and costs nothing while nobody does. What names a label comes from fixed
sets: the reason of a failure may be what a proxy, a plugin or an image server said, and must not make up label values.
"""

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from berth_agent.guestfigures import GuestFigures
from berth_agent.reasons import OTHER, known_reasons, known_steps
from berth_agent.timelines import RESTART_REQUESTED, Stage, Timelines
from berth_api.virtualmachines import EndReason, Phase, VirtualMachine

STEP_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
CALL_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
STAGE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
"""From 10 ms: a start takes a fraction of a second, and a histogram whose first bucket is 10 s cannot tell."""
MOST_CALLS, MOST_OUTCOMES = 64, 8
"""Distinct names that are told apart; those after them count as Other."""
DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Levels:
    """How much there is of everything at one moment."""

    vms: Iterable[VirtualMachine] = ()
    queues: Mapping[str, "QueueLevels"] = field(default_factory=dict)
    heartbeat_age: float = 0.0
    """Seconds since the node's Lease was last renewed."""


@dataclass(frozen=True)
class QueueLevels:
    """A work queue at one moment."""

    waiting: int
    running: int
    stuck: int
    oldest: float
    """Seconds."""


class _Bounded:
    """Label values out of a set: a fixed one, or the first so many that come."""

    def __init__(self, fixed: Iterable[str] = (), most: int = 0) -> None:
        self._known, self._most = set(fixed), most

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) < self._most:
            self._known.add(value)
            return value
        return OTHER


class _LevelsCollector(Collector):
    """Asks for the levels at each scrape."""

    def __init__(self) -> None:
        self.read: Callable[[], Levels] = Levels

    def collect(self) -> Iterator[Metric]:
        levels = self.read()
        phases = GaugeMetricFamily(
            "berth_agent_virtualmachines", "VMs that are bound to this node, by phase", labels=["phase"]
        )
        found = Tally(vm.status.phase or "Pending" for vm in levels.vms)
        for phase in get_args(Phase):
            phases.add_metric([phase], found[phase])
        yield phases
        yield from _queues(levels.queues)
        yield GaugeMetricFamily(
            "berth_agent_heartbeat_age_seconds",
            "Time since the node's Lease was last renewed",
            value=levels.heartbeat_age,
        )


def _queues(queues: Mapping[str, QueueLevels]) -> Iterator[Metric]:
    def family(name: str, text: str, read: Callable[[QueueLevels], float]) -> Metric:
        made = GaugeMetricFamily(f"berth_agent_queue_{name}", text, labels=["queue"])
        for queue, levels in queues.items():
            made.add_metric([queue], read(levels))
        return made

    yield family("depth", "Objects that wait to be worked on", lambda q: q.waiting)
    yield family("running", "Objects that are being worked on", lambda q: q.running)
    yield family("stuck", "Objects whose work is past every deadline of its own", lambda q: q.stuck)
    yield family("oldest_seconds", "For how long the object waits that waits longest for a place", lambda q: q.oldest)


class AgentMetrics:
    """The agent's own figures. Not for threads: call it, and have it scraped, in one event loop.

    Args:
        registry: Where they are found; two of these need two registries. `new_registry()` has the process's, too.
        clock: Monotonic seconds.
    """

    def __init__(self, registry: CollectorRegistry, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = registry
        self._step = _Bounded(known_steps())
        self._reason = _Bounded(known_reasons())
        self._call, self._outcome = _Bounded(most=MOST_CALLS), _Bounded(most=MOST_OUTCOMES)
        self._phase = _Bounded(get_args(Phase))
        self._end = _Bounded((*get_args(EndReason), RESTART_REQUESTED))
        self._steps = self._histogram(
            "step_duration_seconds", "Time that steps took", ["step", "outcome"], STEP_BUCKETS
        )
        self._failures = Counter(
            "berth_agent_step_failures", "Steps that did not succeed, by reason", ["step", "reason"], registry=registry
        )
        self._rounds = self._histogram(
            "round_duration_seconds", "Time that rounds of one VM took", ["outcome"], STEP_BUCKETS
        )
        self._calls = self._histogram(
            "libvirt_call_duration_seconds", "Time that calls of libvirt took", ["call", "outcome"], CALL_BUCKETS
        )
        self._transitions = self._histogram(
            "phase_transition_duration_seconds",
            "Time that a VM was in one phase before it came to another",
            ["phase_from", "phase_to"],
            STAGE_BUCKETS,
        )
        stages = self._histogram(
            "stage_duration_seconds", "Time that stages of VMs' lives took", ["stage"], STAGE_BUCKETS
        )
        self._stages = {stage: stages.labels(stage.value) for stage in Stage}
        self._restarts = Counter(
            "berth_agent_guest_restarts",
            "Guests that were started again, by how the one before had ended",
            ["reason"],
            registry=registry,
        )
        self._timelines = Timelines(self, clock)
        self._levels = _LevelsCollector()
        registry.register(self._levels)

    def _histogram(self, name: str, text: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"berth_agent_{name}", text, labels, buckets=buckets, registry=self.registry)

    def step_done(self, step: str, seconds: float) -> None:
        """A step succeeded."""
        self._steps.labels(self._step(step), DONE).observe(seconds)

    def step_failed(self, step: str, reason: str, seconds: float) -> None:
        """A step failed, for a reason that is a CamelCase word; one that is not known counts as Other."""
        name = self._step(step)
        self._steps.labels(name, FAILED).observe(seconds)
        self._failures.labels(name, self._reason(reason)).inc()

    def round_done(self, seconds: float, outcome: str) -> None:
        """A round of one VM ended, in one of a few ways: done, failed, interrupted and so on."""
        self._rounds.labels(self._outcome(outcome)).observe(seconds)

    def libvirt_call(self, name: str, seconds: float, outcome: str) -> None:
        """A call of libvirt ended."""
        self._calls.labels(self._call(name), self._outcome(outcome)).observe(seconds)

    def transition(self, phase_from: str, phase_to: str, seconds: float) -> None:
        """A VM came from one phase to another, after so long in the first."""
        self._transitions.labels(self._phase(phase_from), self._phase(phase_to)).observe(max(0.0, seconds))

    def stage(self, stage: Stage, seconds: float) -> None:
        """A stage of a VM's life is over."""
        self._stages[stage].observe(max(0.0, seconds))

    def restarted(self, reason: str) -> None:
        """A guest was started again; the reason is how the one before ended."""
        self._restarts.labels(self._end(reason)).inc()

    def saw(self, vm: VirtualMachine) -> None:
        """A round begins for this VM."""
        self._timelines.saw(vm)

    def wrote(self, vm: VirtualMachine, status: Mapping[str, Any]) -> None:
        """The agent's part of the status was written; `vm` is as it was before. Tells transitions, stages, restarts."""
        self._timelines.wrote(vm, status)

    def forget(self, uid: str) -> None:
        """The VM is not on this node any more."""
        self._timelines.forget(uid)

    def follow(self, levels: Callable[[], Levels]) -> None:
        """Ask for the levels here from now on, at each scrape."""
        self._levels.read = levels

    def page(self, guests: GuestFigures) -> Callable[[web.Request], "Any"]:
        """The page to serve: everything in the registry, and what the guests use as libvirt tells it now."""
        self.registry.register(guests)

        async def answer(request: web.Request) -> web.Response:
            await guests.refresh()
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
            return web.Response(body=encode(self.registry), headers={"Content-Type": content_type})

        return answer


def new_registry() -> CollectorRegistry:
    """An empty registry, apart from what the process itself takes: memory, CPU, open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry
