"""Audits: complete lists before anything else, and what the watches missed is repaired."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from tests.unit.agent.conftest import NODE, AgentWorld, vm_body

from berth_agent.audits import Audit
from berth_agent.handlers.intake import Intake
from berth_agent.reconcile.rounds import Owner
from berth_api.client import ApiError, DeadlineExceeded, Forbidden, Gone, Unavailable
from berth_api.kinds import HYPERVISOR, VIRTUAL_MACHINE
from berth_api.workqueues import Backoff, WorkQueue

STRANGER = "99999999-2222-4333-8444-555555555555"


class Auditing:
    """An audit of a node, whose pauses end when the test says so."""

    def __init__(self, node: AgentWorld) -> None:
        self.vms: WorkQueue[Owner] = WorkQueue(Backoff(), Random(1))
        self.reports: WorkQueue[str] = WorkQueue(Backoff(), Random(1))
        self.pauses: list[float] = []
        self._goes_on = asyncio.Semaphore(0)
        self.resting = asyncio.Event()
        intake = Intake(node.tools.view, node.reconciler, self.vms, self.reports)
        self.audit = Audit(node.tools, intake, self.vms, interval=180, image_keep=0, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.resting.set()
        await self._goes_on.acquire()

    async def next_pause(self) -> None:
        """Let the present pause end, and wait for the next one."""
        self.resting.clear()
        self._goes_on.release()
        await asyncio.wait_for(self.resting.wait(), 5)

    @contextmanager
    def running(self) -> Iterator[None]:
        task = asyncio.get_running_loop().create_task(self.audit.run())
        try:
            yield
        finally:
            task.cancel()


@pytest.mark.parametrize(
    "error",
    [Unavailable(503, "", "down"), Forbidden(403, "", "no"), Gone(410, "", "old"), DeadlineExceeded(0, "", "late")],
)
async def test_the_start_waits_for_a_complete_list(node: AgentWorld, error: ApiError) -> None:
    node.api.fail(error, verb="list", times=3)
    auditing = Auditing(node)
    loading = asyncio.create_task(auditing.audit.load())
    for _ in range(3):
        await asyncio.wait_for(auditing.resting.wait(), 5)
        auditing.resting.clear()
        assert not loading.done()
        auditing._goes_on.release()
    await asyncio.wait_for(loading, 5)
    assert node.tools.view.vm(node.uid) is not None
    assert len(auditing.vms) == 1


async def test_admitted_claims_are_taken_over_before_any_is_admitted(node: AgentWorld) -> None:
    for number in range(2):
        body = vm_body(f"{number}1111111-2222-4333-8444-555555555555")
        body["metadata"]["name"] = f"vm-{number}"
        body["status"]["claim"] |= {"id": f"c-{number}", "memory": "10Gi"}
        body["status"]["admittedClaim"] = f"c-{number}" if number == 0 else None
        node.add(VIRTUAL_MACHINE, body)
    await Auditing(node).audit.load()
    await node.reconciler.reconcile(Owner("default", "vm-1", "11111111-2222-4333-8444-555555555555"))
    assert (node.api.peek(VIRTUAL_MACHINE, "vm-1", "default") or {})["status"]["refusedClaim"] == "c-1"


async def test_what_vanished_unseen_is_found(node: AgentWorld) -> None:
    auditing = Auditing(node)
    await auditing.audit.load()
    node.api.remove(VIRTUAL_MACHINE, "web", "default")
    node.api.add(VIRTUAL_MACHINE, _other())
    with auditing.running():
        await asyncio.wait_for(auditing.resting.wait(), 5)
        await auditing.next_pause()
    assert node.tools.view.vm(node.uid) is None
    assert node.tools.view.vm(STRANGER) is not None
    assert auditing.pauses == [180, 180]


def _other() -> dict[str, Any]:
    body = vm_body(STRANGER)
    body["metadata"]["name"] = "other"
    return body


@pytest.mark.parametrize("error", [Unavailable(0, "", "cut off"), Forbidden(403, "", "no"), Gone(410, "", "old")])
async def test_a_list_that_fails_changes_nothing(node: AgentWorld, error: ApiError) -> None:
    await node.reconcile()
    auditing = Auditing(node)
    await auditing.audit.load()
    before = await node.traces()
    node.api.remove(VIRTUAL_MACHINE, "web", "default")
    node.api.fail(error, verb="list", kind=VIRTUAL_MACHINE)
    with auditing.running():
        await asyncio.wait_for(auditing.resting.wait(), 5)
        await auditing.next_pause()
        assert node.tools.view.vm(node.uid) is not None
        assert await node.traces() == before


async def test_the_node_is_looked_at_again_too(node: AgentWorld) -> None:
    auditing = Auditing(node)
    with auditing.running():
        await asyncio.wait_for(auditing.resting.wait(), 5)
        await auditing.next_pause()
    assert len(auditing.reports) == 1


async def test_a_hypervisor_that_vanished_unseen_is_forgotten(node: AgentWorld) -> None:
    node.add(HYPERVISOR, {"metadata": {"name": NODE}, "spec": {}})
    auditing = Auditing(node)
    await auditing.audit.load()
    node.api.remove(HYPERVISOR, NODE)
    node.api.add(VIRTUAL_MACHINE, _other())
    with auditing.running():
        await asyncio.wait_for(auditing.resting.wait(), 5)
        await auditing.next_pause()
    assert node.tools.view.hypervisor(NODE) is None


async def test_a_node_that_cannot_be_looked_at_ends_no_audit(node: AgentWorld, tmp_path: Any) -> None:
    auditing = Auditing(node)
    await node.load()
    with auditing.running():
        await asyncio.wait_for(auditing.resting.wait(), 5)
        (tmp_path / "consoles").rmdir()
        await auditing.next_pause()
        (tmp_path / "consoles").mkdir()
        await node.tools.disks.ensure_disk(vm_uid=STRANGER, disk_name="root", pool_name="default", size=1024**2)
        await auditing.next_pause()
    assert len(auditing.vms) >= 1
