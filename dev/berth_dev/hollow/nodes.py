"""`HollowNodes`: many nodes in one process, for tests of what thousands of nodes do to the rest.

Nothing runs on them, but the API server and the operator cannot tell: there are Nodes, Hypervisors and heartbeats, and
every claim is answered as an agent would, from its own sums. Work is by event: one watch tells of all VMs, a queue
holds those that something is owed to, a few workers write. The identity is the caller's; the admission policies hold
only node agents to their own node, so an administrator may play them all.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from types import TracebackType
from typing import Any, Protocol, Self

from berth_api.allocatable import allocatable
from berth_api.client import Api, NotFound, ObjectList, Reflector, Watcher
from berth_api.fields import AGENT, OPERATOR_LEASE
from berth_api.hypervisors import Hypervisor, HypervisorSpec
from berth_api.kinds import HYPERVISOR, LEASE, VIRTUAL_MACHINE, Kind
from berth_api.workqueues import Backoff, WorkQueue
from berth_dev.hollow import answers, objects
from berth_dev.hollow.answers import Step, next_step
from berth_dev.hollow.heartbeats import Heartbeats
from berth_dev.hollow.machines import Key, Machine
from berth_dev.hollow.occupancy import Occupancy
from berth_dev.hollow.options import HollowOptions
from berth_dev.hollow.registration import Registration
from berth_dev.hollow.reports import Report
from berth_dev.hollow.rooms import Limits, Refusal
from berth_operator.store import Change, Collection


class HollowApi(Api, Watcher, Protocol):
    """The API server, and its watches."""


class HollowNodes:
    """Nodes that are simulated: `async with HollowNodes(api, options) as nodes: ...`.

    On entering, all their objects are made, and what is bound to them is known; on leaving they are removed, unless
    `options.keep` says otherwise.

    Attributes:
        options: What was asked for.
        report: What they have seen and done so far.
        faults: What goes wrong; may be replaced at any time.
        ready: Set once the nodes are there and answer.
    """

    def __init__(
        self, api: HollowApi, options: HollowOptions, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.options, self.faults = options, options.faults
        self.report = Report(nodes=options.count)
        self._api, self._now = api, now
        self._queue: WorkQueue[Key] = WorkQueue(Backoff(0.05, 5.0), Random())  # noqa: S311 - jitter, not secrecy
        default = self._limits_of(HypervisorSpec())
        self._occupancy = Occupancy(dict.fromkeys(options.names, default), self.report, self._queue.add)
        self._hypervisors = Collection(HYPERVISOR, Hypervisor.from_api)
        self._hypervisors.listen(self._on_hypervisor)
        self._registration = Registration(api, options, now=now)
        self._heartbeats = Heartbeats(
            api, options, self.report, is_silent=lambda name: name in self.faults.silent, now=now
        )
        self._due: dict[Key, tuple[str, Step, float]] = {}
        self.ready = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            versions = await self._registration.register()
            self.report.registered_in = round(loop.time() - begun, 3)
            self._serving = loop.create_task(self._serve(versions), name="hollow nodes")
            synced = loop.create_task(self.ready.wait())
            await asyncio.wait({self._serving, synced}, return_when=asyncio.FIRST_COMPLETED)
            synced.cancel()
            if self._serving.done():
                self._serving.result()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave()

    async def run(self) -> None:
        """Play the nodes until cancelled.

        Raises:
            DevError: Their objects could not be made, or not removed.
        """
        async with self:
            await self.wait()

    async def wait(self) -> None:
        """Wait for the end of what plays the nodes, which comes by an error only."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def _leave(self) -> None:
        serving, self._serving = self._serving, None
        try:
            if serving is not None:
                serving.cancel()
                await asyncio.wait({serving})
                if not serving.cancelled():
                    serving.result()
        finally:
            if not self.options.keep:
                await self._registration.remove()

    async def _serve(self, versions: Mapping[str, str]) -> None:
        machines = Reflector(_Ordered(self._api, self._occupancy), VIRTUAL_MACHINE, self._occupancy)
        hypervisors = Reflector(self._api, HYPERVISOR, self._hypervisors, label_selector=f"{objects.LABEL}=true")
        epoch = Reflector(
            self._api,
            LEASE,
            _Epoch(self._occupancy),
            namespace=self.options.namespace,
            field_selector=f"metadata.name={OPERATOR_LEASE}",
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(self._heartbeats.run(versions))
            for first in (hypervisors, epoch):
                group.create_task(first.run())
            await asyncio.gather(hypervisors.synced.wait(), epoch.synced.wait())
            group.create_task(machines.run())
            await machines.synced.wait()
            self.ready.set()
            group.create_task(self._queue.run(self._work, self.options.workers))

    def _limits_of(self, spec: HypervisorSpec) -> Limits:
        shape = self.options.shape
        return Limits(allocatable(shape.total, spec, shape.pods), spec.max_virtual_machines)

    def _on_hypervisor(self, change: Change[Hypervisor]) -> None:
        name = change.key[1]
        if name in self._occupancy.limits:
            spec = change.new.spec if change.new is not None else HypervisorSpec()
            self._occupancy.limits[name] = self._limits_of(spec)

    async def _work(self, key: Key) -> float | None:
        vm = self._occupancy.get(key)
        step = next_step(vm) if vm is not None else None
        if vm is None or step is None:
            self._due.pop(key, None)
            return None
        pause = self._pause(vm, step)
        if pause > 0:
            return pause
        status, refusal = self._answer(vm, step)
        namespace, name = key
        body = {"metadata": {"uid": vm.uid}, "status": status}
        try:
            written = await self._api.apply(
                VIRTUAL_MACHINE, name, namespace, body, field_manager=AGENT, subresource="status"
            )
        except NotFound:  # the watch will tell
            return None
        self._note(step, refusal)
        self._occupancy.upsert(written)
        return None

    def _pause(self, vm: Machine, step: Step) -> float:
        """Seconds until the step may be taken, from the first time that it could have been."""
        delay = {Step.ADMIT: self.faults.admission_delay, Step.BOOT: self.options.boot_delay}.get(step, 0.0)
        if not delay or vm.claim is None:
            self._due.pop(vm.key, None)
            return 0.0
        now = asyncio.get_running_loop().time()
        claim_id, due_step, due = self._due.get(vm.key, ("", None, 0.0))
        if (claim_id, due_step) != (vm.claim.id, step):
            due = now + delay
            self._due[vm.key] = vm.claim.id, step, due
        return due - now

    def _answer(self, vm: Machine, step: Step) -> tuple[dict[str, Any], Refusal | None]:
        now = self._now()
        match step:
            case Step.RELEASE:
                return answers.released(vm, now), None
            case Step.STOP:
                return answers.stopped(vm, now), None
            case Step.BOOT:
                return answers.running(vm, self.options.shape, now), None
            case Step.ADMIT | Step.RESIZE:
                refusal = self._admit(vm)
                taken, not_taken = self._answers_to_a_claim(vm, step, now)
                return (taken(), None) if refusal is None else (not_taken(refusal), refusal)

    def _answers_to_a_claim(
        self, vm: Machine, step: Step, now: datetime
    ) -> tuple[Callable[[], dict[str, Any]], Callable[[Refusal], dict[str, Any]]]:
        """What is said when the claim is taken, and when it is not: of a guest that runs, and of others."""
        shape, admitted = self.options.shape, replace(vm, admitted=vm.claim.id if vm.claim else "")
        if step is Step.RESIZE:
            return lambda: answers.running(admitted, shape, now), lambda why: answers.outgrown(vm, shape, why, now)
        refused = answers.start_refused if vm.admitted else answers.refused
        return lambda: answers.admitted(vm, now), lambda why: refused(vm, why, now)

    def _admit(self, vm: Machine) -> Refusal | None:
        if vm.claim is None:
            raise ValueError(f"{'/'.join(vm.key)} has no claim to admit")
        if self.faults.refuses(vm.node, vm.key):
            return Refusal("Injected", "the node was told to refuse it")
        return self._occupancy.admit(vm, vm.claim)

    def _note(self, step: Step, refusal: Refusal | None) -> None:
        report = self.report
        match step:
            case Step.ADMIT if refusal is None:
                report.note_admission(asyncio.get_running_loop().time())
            case Step.ADMIT | Step.RESIZE if refusal is not None:
                report.note_refusal(refusal.reason)
            case Step.BOOT:
                report.started += 1
            case Step.STOP:
                report.stopped += 1
            case Step.RELEASE:
                report.released += 1


class _Ordered:
    """The API server, for one who must know what is a list's and what is a watch's."""

    def __init__(self, api: HollowApi, occupancy: Occupancy) -> None:
        self._api, self._occupancy = api, occupancy
        self.watch = api.watch

    async def list(
        self, kind: Kind, namespace: str = "", *, field_selector: str = "", label_selector: str = ""
    ) -> ObjectList:
        """All objects; what the sink gets until it is told to replace is of this list."""
        listed = await self._api.list(kind, namespace, field_selector=field_selector, label_selector=label_selector)
        self._occupancy.begin_list()
        return listed


class _Epoch:
    """The sink of the watch of the operator's Lease."""

    def __init__(self, occupancy: Occupancy) -> None:
        self._occupancy = occupancy

    def upsert(self, body: Mapping[str, Any]) -> None:
        """The Lease is this now."""
        self._occupancy.epoch = int(body.get("spec", {}).get("leaseTransitions") or 0)

    def remove(self, _body: Mapping[str, Any]) -> None:
        """No operator leads."""
        self._occupancy.epoch = 0

    def replace(self, listed: ObjectList) -> None:
        """Of the Leases, there is at most this one."""
        self._occupancy.epoch = 0
        for body in listed.items:
            self.upsert(body)
