"""Rounds that let others go first: a guest is started when the VMs beside its own are prepared, and a delete wins."""

import asyncio
from dataclasses import replace
from random import Random
from uuid import uuid4

from tests.unit.agent.conftest import AgentWorld

from berth_agent.reconcile.holds import Holds
from berth_agent.reconcile.plan.steps import CreateDisk, DefineDomain, StartDomain, Step
from berth_agent.reconcile.reconciler import Reconciler
from berth_agent.reconcile.rounds import Owner, Round
from berth_agent.reconcile.steps import act
from berth_agent.reconcile.turns import Turns
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.workqueues import Backoff, WorkQueue

LONG = 600.0


class Pair:
    """The VM `web`, and `other`, whose preparation goes on until `go_on` is set."""

    def __init__(self, node: AgentWorld) -> None:
        self.node = node
        self.other = Owner("default", "other", str(uuid4()))
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.prepared = {owner: asyncio.Event() for owner in (node.owner, self.other)}
        self.started = {owner: asyncio.Event() for owner in (node.owner, self.other)}
        self.turns = Turns(patience=LONG)
        body = node.vm
        assert body is not None
        metadata = {**body["metadata"], "name": self.other.name, "uid": self.other.uid}
        node.api.add(VIRTUAL_MACHINE, {**body, "metadata": metadata})
        self.vms: WorkQueue[Owner] = WorkQueue(Backoff(), Random(1))
        self.reconciler = Reconciler(
            replace(node.tools, turns=self.turns),
            Holds(node.clock, Random(1)),
            now=lambda: node.now,
            act=self._take,
            aside=self.vms.aside,
        )

    async def _take(self, step: Step, work: Round) -> None:
        if isinstance(step, CreateDisk) and work.owner == self.other:
            self.begun.set()
            await self.go_on.wait()
        await act(step, work)
        if isinstance(step, DefineDomain):
            self.prepared[work.owner].set()
        if isinstance(step, StartDomain):
            self.started[work.owner].set()

    @property
    def nothing_runs(self) -> bool:
        return "start" not in self.node.hypervisor.methods()

    async def web_waits(self) -> "asyncio.Task[float | None]":
        """A round of `web` that has prepared it, while `other` is still being prepared."""
        await self.node.load()
        await self.begun.wait()
        web = asyncio.create_task(self.reconciler.reconcile(self.node.owner))
        await self.prepared[self.node.owner].wait()
        await some_time()
        assert self.nothing_runs
        return web


async def some_time() -> None:
    """For all that is ready to run, when nothing is left that waits for a thread."""
    for _ in range(100):
        await asyncio.sleep(0)


async def test_a_guest_is_started_when_the_vm_beside_its_own_is_prepared(node: AgentWorld) -> None:
    pair = Pair(node)
    await node.load()
    other = asyncio.create_task(pair.reconciler.reconcile(pair.other))
    web = await pair.web_waits()
    pair.go_on.set()
    await asyncio.gather(web, other)
    assert node.hypervisor.methods().count("start") == len((web, other))


async def test_whoever_waits_for_others_lends_them_its_place(node: AgentWorld) -> None:
    pair = Pair(node)
    pair.go_on.set()
    await node.load()
    with pair.turns.preparing():
        pair.vms.add(node.owner)
        pair.vms.add(pair.other)
        running = asyncio.create_task(pair.vms.run(pair.reconciler.reconcile, 1))
        async with asyncio.timeout(30):
            await asyncio.gather(*(prepared.wait() for prepared in pair.prepared.values()))
        assert pair.nothing_runs
    await asyncio.gather(*(started.wait() for started in pair.started.values()))
    running.cancel()
    await asyncio.wait({running})


async def test_a_delete_does_not_wait_for_the_turn(node: AgentWorld) -> None:
    pair = Pair(node)
    await node.load()
    other = asyncio.create_task(pair.reconciler.reconcile(pair.other))
    web = await pair.web_waits()
    body = node.vm
    assert body is not None
    body["metadata"]["deletionTimestamp"] = node.now.isoformat()
    node.api.add(VIRTUAL_MACHINE, body)
    await node.load()
    pair.reconciler.outdated(node.owner)
    async with asyncio.timeout(30):
        assert await web == 0.0
    assert pair.nothing_runs
    other.cancel()
    await asyncio.wait({other})


async def test_a_round_that_is_cancelled_while_it_waits_ends(node: AgentWorld) -> None:
    pair = Pair(node)
    await node.load()
    other = asyncio.create_task(pair.reconciler.reconcile(pair.other))
    web = await pair.web_waits()
    web.cancel()
    other.cancel()
    await asyncio.wait({web, other}, timeout=30)
    assert web.cancelled()
    assert pair.nothing_runs
