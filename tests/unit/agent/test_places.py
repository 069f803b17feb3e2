"""Rounds and the places of their queue: VMs whose image never comes keep nobody else from starting."""

import asyncio
from random import Random
from uuid import uuid4

from tests.unit.agent.conftest import AgentWorld

from berth_agent.reconcile.holds import Holds
from berth_agent.reconcile.plan.steps import CreateDisk, StartDomain, Step
from berth_agent.reconcile.reconciler import Reconciler
from berth_agent.reconcile.rounds import Owner, Round
from berth_agent.reconcile.steps import act
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.workqueues import Backoff, WorkQueue


async def test_a_vm_starts_while_more_vms_than_there_are_places_wait_for_images_that_never_come(
    node: AgentWorld,
) -> None:
    vms: WorkQueue[Owner] = WorkQueue(Backoff(), Random(1))
    stalled: set[str] = set()
    started = asyncio.Event()

    async def take(step: Step, work: Round) -> None:
        if isinstance(step, CreateDisk) and work.owner.name != "web":
            stalled.add(work.owner.name)
            await asyncio.Event().wait()
        await act(step, work)
        if isinstance(step, StartDomain):
            started.set()

    body = node.vm
    assert body is not None
    for number in range(3):
        owner = Owner("default", f"stalled-{number}", str(uuid4()))
        metadata = {**body["metadata"], "name": owner.name, "uid": owner.uid}
        node.api.add(VIRTUAL_MACHINE, {**body, "metadata": metadata})
        vms.add(owner)
    vms.add(node.owner)
    await node.load()
    reconciler = Reconciler(node.tools, Holds(node.clock, Random(1)), now=lambda: node.now, act=take, aside=vms.aside)
    running = asyncio.create_task(vms.run(reconciler.reconcile, 2))
    async with asyncio.timeout(60):
        await started.wait()
    assert len(stalled) == 3
    assert vms.stuck == ()
    running.cancel()
    await asyncio.wait({running})
