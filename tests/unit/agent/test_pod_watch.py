"""Pods of the node: what they request is reported, a rollout at a time, and no claim is admitted into it."""

import asyncio
from random import Random
from typing import Any

import pytest
from tests.unit.agent.conftest import NODE, AgentWorld

from berth_agent.audits import Audit
from berth_agent.handlers.intake import NODE_REPORT, PODS_PAUSE, Intake
from berth_agent.reconcile.rounds import Owner
from berth_api.allocatable import Amounts
from berth_api.kinds import HYPERVISOR, POD, VIRTUAL_MACHINE
from berth_api.workqueues import Backoff, WorkQueue

virtual_time = pytest.mark.looptime
"""Not where qemu-img runs: it takes real time."""


class Reports:
    """The intake of a node, and when it had the node reported."""

    def __init__(self, node: AgentWorld) -> None:
        self.vms: WorkQueue[Owner] = WorkQueue(Backoff(), Random(1))
        self.queue: WorkQueue[str] = WorkQueue(Backoff(), Random(1))
        self.intake = Intake(node.tools.view, node.reconciler, self.vms, self.queue)
        self.at: list[float] = []

    async def watch(self, seconds: float) -> None:
        """Note the reports of the next so many seconds."""

        async def note(key: str) -> None:
            assert key == NODE_REPORT
            self.at.append(asyncio.get_running_loop().time())

        working = asyncio.create_task(self.queue.run(note, 1))
        await asyncio.sleep(seconds)
        working.cancel()
        await asyncio.wait({working})


def pod(
    version: int, *, name: str = "p", cpu: str = "100m", phase: str = "Running", node: str = NODE
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": str(version)},
        "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": phase},
    }


@virtual_time
@pytest.mark.parametrize(
    ("event", "body", "reports"),
    [
        ("MODIFIED", pod(6), 0),
        ("MODIFIED", pod(6, cpu="200m"), 1),
        ("MODIFIED", pod(6, phase="Succeeded"), 1),
        ("MODIFIED", pod(4, cpu="200m"), 0),
        ("DELETED", pod(6), 1),
        ("ADDED", pod(7, name="another"), 1),
        ("ADDED", pod(7, name="idle", cpu="0"), 0),
    ],
    ids=["nothing new", "resized", "ended", "an old word", "gone", "another", "one that asks for nothing"],
)
async def test_the_node_is_reported_where_the_sum_is_another(
    node: AgentWorld, event: str, body: dict[str, Any], reports: int
) -> None:
    seen = Reports(node)
    seen.intake.take(POD, None, pod(5))
    await seen.watch(10)
    assert len(seen.at) == 1
    seen.intake.take(POD, event, body)
    await seen.watch(10)
    assert len(seen.at) == 1 + reports


@virtual_time
async def test_a_rollout_is_a_report_every_few_seconds_and_none_when_it_is_over(node: AgentWorld) -> None:
    seen = Reports(node)
    watching = asyncio.create_task(seen.watch(60))
    for number in range(200):
        seen.intake.take(POD, "ADDED", pod(number + 1, name=f"p-{number}"))
        await asyncio.sleep(0.05)
    await watching
    assert 3 <= len(seen.at) <= 10 / PODS_PAUSE + 1
    assert all(later - earlier >= PODS_PAUSE for earlier, later in zip(seen.at, seen.at[1:], strict=False))
    assert node.tools.view.pod_requests() == Amounts(cpu=20_000)


@virtual_time
async def test_a_pod_that_vanished_unseen_is_found_out_by_the_audit(node: AgentWorld) -> None:
    seen = Reports(node)
    node.add(POD, pod(0, name="stays"))
    node.add(POD, pod(0, name="elsewhere", cpu="4", node="node-2"))
    gone = node.api.add(POD, pod(0, name="goes", cpu="2"))
    ends = asyncio.Event()

    async def once(_seconds: float) -> None:
        if ends.is_set():
            await asyncio.Event().wait()
        ends.set()

    audit = Audit(node.tools, seen.intake, seen.vms, interval=180, image_keep=0, sleep=once)
    await audit.load()
    assert node.tools.view.pod_requests() == Amounts(cpu=2100), "those of this node"
    node.api.remove(POD, gone["metadata"]["name"], "default")
    auditing = asyncio.create_task(audit.run())
    await seen.watch(10)
    auditing.cancel()
    assert node.tools.view.pod_requests() == Amounts(cpu=100)
    assert seen.at


async def test_a_claim_that_fits_the_node_but_not_beside_its_pods_is_refused(node: AgentWorld) -> None:
    node.tools.view.put(POD, pod(1, cpu="31500m"))
    await node.reconcile()
    ready = next(c for c in node.status["conditions"] if c["type"] == "Ready")
    assert node.status["refusedClaim"] == "claim-1"
    assert ready["message"] == "InsufficientCPU: the node is short of 500m CPU"


async def test_a_vm_beyond_what_the_administrator_allows_is_refused(node: AgentWorld) -> None:
    metadata = {"name": NODE, "uid": "h", "resourceVersion": "1"}
    node.tools.view.put(HYPERVISOR, {"metadata": metadata, "spec": {"maxVirtualMachines": 0}})
    await node.reconcile()
    ready = next(c for c in node.status["conditions"] if c["type"] == "Ready")
    assert ready["message"] == "NoFreeSlot: the node holds 0 VMs already, and may hold 0"


async def test_a_guest_that_runs_is_not_disturbed_by_pods_that_came_later(node: AgentWorld) -> None:
    await node.reconcile()
    node.tools.view.put(POD, pod(1, cpu="100"))
    body = node.vm
    assert body is not None
    del body["status"]["admittedClaim"]
    node.add(VIRTUAL_MACHINE, body)
    await node.settle()
    assert (node.status["phase"], node.status["admittedClaim"]) == ("Running", "claim-1")
