"""Probes under way: a task per running guest and probe, and the verdicts that the reconciler reads.

The reconciler says in every round what it sees; a task begins anew only where the run of the guest, the probe or the
links have changed. Verdicts are memory and may be lost: an agent that is started again takes a guest for living, and
for ready where its status says so for this very run, until enough answers say otherwise.

Races faced here: a guest is restarted while it is asked (the old run's answer goes with its task), an answer comes
while its guest is forgotten (a cancelled task reports nothing), a guest is paused (it is not asked, its verdicts stay).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

import structlog

from berth_agent.guests.links import GuestLink, Links
from berth_agent.guests.probing import Health, Outcome, ProbeKind, after, begin, first_delay, next_due
from berth_agent.guests.questions import Questions
from berth_api.probes import Probe
from berth_api.virtualmachines import VirtualMachine

log = structlog.get_logger()

_SAME_START = timedelta(seconds=1)
"""Times in a status have no fractions of a second."""
Changed = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """What is asked of whom: another subject begins another task."""

    uid: str
    kind: ProbeKind
    probe: Probe
    started_at: datetime
    links: Links
    order: tuple[str, ...]


@dataclass
class _Watch:
    """A subject, its verdict, and the task that asks; no task while the guest is paused."""

    subject: Subject
    health: Health
    since: datetime
    """From when the initial delay counts."""
    task: asyncio.Task[None] | None = field(default=None)


class Healths:
    """The verdicts of all probes on this node. All methods but `close` return at once, and belong to the loop's thread.

    Args:
        questions: asks.
        clock: the time of day, as guests' starts are told in.
        changed: called with the VM's UID when a verdict, or the reason of one, has changed.
        jitter: gives shares from 0 to 1.
    """

    def __init__(
        self, questions: Questions, clock: Callable[[], datetime], changed: Changed, jitter: Callable[[], float]
    ) -> None:
        self._questions = questions
        self._clock = clock
        self._changed = changed
        self._jitter = jitter
        self._watches: dict[tuple[str, ProbeKind], _Watch] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def watch(
        self, vm: VirtualMachine, started_at: datetime, links: Mapping[str, GuestLink], *, paused: bool = False
    ) -> None:
        """Ask what the VM's probes say, from now on; call it in every round in which the guest is active.

        Args:
            vm: its spec has the probes; its status, whether this run of the guest was ready already.
            started_at: when the guest was started.
            links: the guest's NICs by name.
            paused: the guest stands, so it is not asked, and its verdicts stay as they are.
        """
        probes = {ProbeKind.LIVENESS: vm.spec.liveness_probe, ProbeKind.READINESS: vm.spec.readiness_probe}
        order = tuple(interface.name for interface in vm.spec.interfaces)
        for kind, probe in probes.items():
            key = vm.metadata.uid, kind
            if probe is None:
                self._drop(key)
                continue
            subject = Subject(vm.metadata.uid, kind, probe, started_at, MappingProxyType(dict(links)), order)
            self._keep(key, subject, was_ready=_was_ready(vm, started_at), paused=paused)

    def forget(self, uid: str) -> None:
        """Stop asking: the guest is off, or is not this node's any more."""
        for kind in ProbeKind:
            self._drop((uid, kind))

    def rebooted(self, uid: str) -> None:
        """The guest has rebooted by itself: it lives, and gets the liveness probe's initial delay once more."""
        watch = self._watches.get((uid, ProbeKind.LIVENESS))
        if watch is None or watch.health.final:
            return
        watch.since, watch.health = self._clock(), begin(ProbeKind.LIVENESS)
        if watch.task is not None:
            self._stop(watch)
            self._start(watch)

    def live(self, uid: str) -> bool | None:
        """Whether the guest passes its liveness probe; None: none is under way."""
        return self._passing(uid, ProbeKind.LIVENESS)

    def ready(self, uid: str) -> bool | None:
        """Whether the guest passes its readiness probe; None: none is under way."""
        return self._passing(uid, ProbeKind.READINESS)

    def why(self, uid: str, kind: ProbeKind) -> str:
        """Why the guest does not pass a probe, for people; empty where it does. It stays the same until it does."""
        watch = self._watches.get((uid, kind))
        return watch.health.why if watch is not None else ""

    @property
    def tasks(self) -> int:
        """Probes that are asked now."""
        return sum(watch.task is not None for watch in self._watches.values())

    async def close(self) -> None:
        """Stop asking anybody, and wait until nothing is under way."""
        for key in list(self._watches):
            self._drop(key)
        while self._ending:
            await asyncio.wait(self._ending)

    def _passing(self, uid: str, kind: ProbeKind) -> bool | None:
        watch = self._watches.get((uid, kind))
        return watch.health.passing if watch is not None else None

    def _keep(self, key: tuple[str, ProbeKind], subject: Subject, *, was_ready: bool, paused: bool) -> None:
        watch = self._watches.get(key)
        if watch is None or watch.subject.started_at != subject.started_at or watch.subject.probe != subject.probe:
            self._drop(key)
            watch = self._watches[key] = _Watch(subject, begin(subject.kind, was_ready=was_ready), subject.started_at)
        elif watch.subject != subject:
            self._stop(watch)
            watch.subject = subject
        if paused:
            self._stop(watch)
        else:
            self._start(watch)

    def _start(self, watch: _Watch) -> None:
        subject = watch.subject
        if watch.task is None and not watch.health.final:
            watch.task = asyncio.create_task(self._probe(watch), name=f"{subject.kind} of {subject.uid}")
            self._ending.add(watch.task)
            watch.task.add_done_callback(self._ended)

    def _drop(self, key: tuple[str, ProbeKind]) -> None:
        watch = self._watches.pop(key, None)
        if watch is not None:
            self._stop(watch)

    def _stop(self, watch: _Watch) -> None:
        if watch.task is not None:
            watch.task.cancel()
            watch.task = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A probe that a bug has ended is not asked again until its guest's next round."""
        self._ending.discard(task)
        if task.cancelled():
            return
        for watch in self._watches.values():
            if watch.task is task:
                watch.task = None
        if task.exception() is not None:
            log.error("a probe ended by an error", task=task.get_name(), exc_info=task.exception())

    async def _probe(self, watch: _Watch) -> None:
        loop, subject = asyncio.get_running_loop(), watch.subject
        running = (self._clock() - watch.since).total_seconds()
        due = loop.time() + first_delay(subject.probe, running, self._jitter())
        while not watch.health.final:
            await asyncio.sleep(due - loop.time())
            answer = await self._questions.ask(subject.uid, subject.probe, subject.links, subject.order)
            if answer.outcome is not Outcome.SUCCESS:
                log.debug("probe", uid=subject.uid, kind=subject.kind, outcome=answer.outcome, why=answer.why)
            self._judge(watch, after(watch.health, subject.probe, answer))
            due = next_due(due, loop.time(), subject.probe.period_seconds)

    def _judge(self, watch: _Watch, health: Health) -> None:
        before, watch.health = watch.health, health
        if (before.passing, before.why) != (health.passing, health.why):
            level = log.info if health.passing else log.warning
            level(
                "a guest's health changed",
                uid=watch.subject.uid,
                kind=health.kind,
                passing=health.passing,
                why=health.why,
            )
            self._changed(watch.subject.uid)


def _was_ready(vm: VirtualMachine, started_at: datetime) -> bool:
    """Whether the status says that this run of the guest is ready."""
    ready, start = vm.status.condition("Ready"), vm.status.started_at
    return ready is not None and ready.status == "True" and start is not None and abs(start - started_at) <= _SAME_START
