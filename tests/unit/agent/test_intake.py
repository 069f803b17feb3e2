"""From events to work: who is looked at, whose hold is lifted, and what is interrupted."""

import asyncio
from random import Random
from typing import Any

import pytest
from tests.unit.agent.conftest import NODE, AgentWorld, vm_body

from berth_agent.handlers.hypervisor_events import follow
from berth_agent.handlers.intake import LOSS_PAUSE, NODE_REPORT, Intake
from berth_agent.hypervisor.states import DomainEventKind
from berth_agent.network.attachments import Attachment, AttachmentRequest
from berth_agent.network.errors import PluginNotFound
from berth_agent.reconcile.rounds import Owner
from berth_api.kinds import (
    CLUSTER_VIRTUAL_MACHINE_IMAGE,
    HYPERVISOR,
    VIRTUAL_MACHINE,
    VIRTUAL_MACHINE_IMAGE,
    VIRTUAL_NETWORK,
)
from berth_api.workqueues import Backoff, WorkQueue


class Queues:
    """The intake of a node, and what it has queued."""

    def __init__(self, node: AgentWorld) -> None:
        self.vms: WorkQueue[Owner] = WorkQueue(Backoff(), Random(1))
        self.reports: WorkQueue[str] = WorkQueue(Backoff(), Random(1))
        self.intake = Intake(node.tools.view, node.reconciler, self.vms, self.reports)

    async def take_all(self) -> tuple[set[Owner], set[str]]:
        """What is queued by now."""
        return await _drained(self.vms), await _drained(self.reports)


async def _drained(queue: WorkQueue[Any]) -> set[Any]:
    found: set[Any] = set()

    async def note(key: Any) -> None:
        found.add(key)

    working = asyncio.create_task(queue.run(note, 1))
    for _ in range(5):
        await asyncio.sleep(0)
    working.cancel()
    await asyncio.wait({working})
    return found


def network(version: int, **metadata: Any) -> dict[str, Any]:
    meta = {"name": "default", "uid": "n", "generation": 1, "resourceVersion": str(version), **metadata}
    return {"metadata": meta, "spec": {"cni": {"plugins": [{"type": "bridge"}]}}}


async def test_what_a_guest_does_again_and_again_is_looked_at_once_in_a_while(node: AgentWorld) -> None:
    queues = Queues(node)
    await node.reconcile()
    following = asyncio.create_task(follow(node.hypervisor, queues.intake))
    await asyncio.sleep(0)
    for _ in range(50):
        for kind in (DomainEventKind.AGENT_CONNECTED, DomainEventKind.AGENT_DISCONNECTED, DomainEventKind.REBOOTED):
            node.hypervisor.fire(node.uid, kind)
    assert await queues.take_all() == (set(), set())
    node.hypervisor.fire(node.uid, DomainEventKind.STOPPED)
    assert await queues.take_all() == ({node.owner}, set())
    following.cancel()
    await asyncio.wait({following})
    queues.vms.close()


async def test_a_vm_is_looked_at_when_it_comes_changes_and_goes(node: AgentWorld) -> None:
    queues = Queues(node)
    for event in (None, "MODIFIED", "DELETED"):
        if event == "MODIFIED":
            node.api.add(VIRTUAL_MACHINE, node.vm or {})
        queues.intake.take(VIRTUAL_MACHINE, event, node.vm or {})
        assert await queues.take_all() == ({node.owner}, set())
    assert node.tools.view.vm(node.uid) is None


async def test_what_is_known_already_queues_nobody(node: AgentWorld) -> None:
    queues = Queues(node)
    queues.intake.take(VIRTUAL_MACHINE, None, node.vm or {})
    await queues.take_all()
    queues.intake.take(VIRTUAL_MACHINE, "ADDED", node.vm or {})
    assert await queues.take_all() == (set(), set())


async def test_whoever_is_replaced_by_a_namesake_is_looked_at_too(node: AgentWorld) -> None:
    queues = Queues(node)
    queues.intake.take(VIRTUAL_MACHINE, None, node.vm or {})
    await queues.take_all()
    second = "11111111-2222-4333-8444-555555555555"
    node.api.add(VIRTUAL_MACHINE, vm_body(second))
    queues.intake.take(VIRTUAL_MACHINE, None, node.vm or {})
    assert await queues.take_all() == ({node.owner, Owner("default", "web", second)}, set())


async def test_a_network_that_comes_lifts_the_hold_of_who_wants_it(node: AgentWorld) -> None:
    queues = Queues(node)
    node.attachments.faults.append(PluginNotFound("nope", []))
    assert await node.reconcile()
    queues.intake.take(VIRTUAL_NETWORK, "MODIFIED", network(9000, uid=_uid_of_network(node), generation=2))
    assert await queues.take_all() == ({node.owner}, {NODE_REPORT})
    await node.reconciler.reconcile(node.owner)
    assert node.status["phase"] == "Running"


async def test_a_networks_status_is_no_reason_to_try_again(node: AgentWorld) -> None:
    queues = Queues(node)
    node.attachments.faults.append(PluginNotFound("nope", []))
    await node.reconcile()
    queues.intake.take(VIRTUAL_NETWORK, "MODIFIED", network(9000, uid=_uid_of_network(node)))
    assert await queues.take_all() == (set(), set())


def _uid_of_network(node: AgentWorld) -> str:
    return str((node.api.peek(VIRTUAL_NETWORK, "default") or {})["metadata"]["uid"])


async def test_a_network_made_anew_under_the_same_name_is_a_new_one(node: AgentWorld) -> None:
    queues = Queues(node)
    await node.load()
    queues.intake.take(VIRTUAL_NETWORK, "MODIFIED", network(9000, uid="another"))
    assert await queues.take_all() == ({node.owner}, {NODE_REPORT})


async def test_an_image_of_another_namespace_is_nobodys_business(node: AgentWorld) -> None:
    image = {"imageRef": {"kind": "VirtualMachineImage", "name": "debian"}}
    node.add(VIRTUAL_MACHINE, vm_body(node.uid, disks=[{"name": "root", "size": "1Gi", **image}]))
    await node.load()
    queues = Queues(node)
    spec = {"source": {"http": {"url": "http://images.example/x"}}, "checksum": "sha256:" + "0" * 64}
    for kind, namespace, wanted in (
        (VIRTUAL_MACHINE_IMAGE, "other", set()),
        (CLUSTER_VIRTUAL_MACHINE_IMAGE, "", set()),
        (VIRTUAL_MACHINE_IMAGE, "default", {node.owner}),
    ):
        metadata = {"name": "debian", "namespace": namespace, "uid": f"i-{namespace}", "resourceVersion": "1"}
        queues.intake.take(kind, "ADDED", {"metadata": metadata, "spec": spec})
        assert (await queues.take_all())[0] == wanted


async def test_a_hypervisor_that_goes_is_reported_anew(node: AgentWorld) -> None:
    queues = Queues(node)
    body = {"metadata": {"name": "node-1", "uid": "h", "resourceVersion": "5", "generation": 1}, "spec": {}}
    queues.intake.take(HYPERVISOR, None, body)
    await queues.take_all()
    queues.intake.take(HYPERVISOR, "DELETED", body)
    assert await queues.take_all() == (set(), {NODE_REPORT})


async def test_a_reconnect_makes_everybody_look_and_a_domains_event_its_owner(node: AgentWorld) -> None:
    await node.reconcile()
    queues = Queues(node)
    following = asyncio.create_task(follow(node.hypervisor, queues.intake))
    await asyncio.sleep(0)
    node.hypervisor.fire(node.uid, DomainEventKind.STOPPED)
    await asyncio.sleep(0)
    assert await queues.take_all() == ({node.owner}, set())
    node.hypervisor.disconnect()
    assert await queues.take_all() == (set(), set())
    node.hypervisor.reconnect()
    assert await queues.take_all() == ({node.owner}, {NODE_REPORT})
    following.cancel()
    await asyncio.wait({following})


class Gate:
    """Attachments that wait at a gate, so that a test can come between."""

    def __init__(self, node: AgentWorld) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        self._attach = node.attachments.attach
        node.attachments.attach = self._wait  # type: ignore[method-assign]  # the fake's

    async def _wait(self, request: AttachmentRequest) -> Attachment:
        self.reached.set()
        await self.open.wait()
        return await self._attach(request)


def deleted(node: AgentWorld) -> None:
    body = node.vm
    assert body is not None
    body["metadata"]["deletionTimestamp"] = node.now.isoformat()
    node.api.add(VIRTUAL_MACHINE, body)


async def test_a_delete_that_comes_during_a_short_step_keeps_a_later_long_one_from_beginning(node: AgentWorld) -> None:
    gate, queues = Gate(node), Queues(node)
    await node.load()
    real = node.api.get

    async def overtaken(*args: Any) -> dict[str, Any]:
        if node.tools.view.vm(node.uid) and not node.status.get("admittedClaim"):
            deleted(node)
            queues.intake.take(VIRTUAL_MACHINE, "MODIFIED", node.vm or {})
        return await real(*args)

    node.api.get = overtaken  # type: ignore[method-assign]  # the fake's: a delete while the claim is admitted
    assert await asyncio.wait_for(node.reconciler.reconcile(node.owner), 5) == 0
    assert not gate.reached.is_set()


async def test_a_restart_after_a_crash_is_not_interrupted_by_a_word_about_its_vm(node: AgentWorld) -> None:
    node.add(VIRTUAL_MACHINE, vm_body(node.uid, runStrategy="RerunOnFailure"))
    await node.reconcile()
    node.hypervisor.crash(node.uid)
    node.now = node.now.replace(hour=1)
    gate, queues = Gate(node), Queues(node)
    round_ = asyncio.create_task(node.reconcile())
    await gate.reached.wait()
    node.api.add(VIRTUAL_MACHINE, node.vm or {})
    queues.intake.take(VIRTUAL_MACHINE, "MODIFIED", node.vm or {})
    gate.open.set()
    assert await asyncio.wait_for(round_, 5) is None
    assert node.status["phase"] == "Running"


async def test_a_round_that_is_interrupted_while_the_agent_ends_does_end(node: AgentWorld) -> None:
    gate, queues = Gate(node), Queues(node)
    round_ = asyncio.create_task(node.reconcile())
    await gate.reached.wait()
    deleted(node)
    queues.intake.take(VIRTUAL_MACHINE, "MODIFIED", node.vm or {})
    round_.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(round_, 5)


class Later(WorkQueue[str]):
    """A queue that notes what is to be worked on later."""

    def __init__(self) -> None:
        super().__init__(Backoff(), Random(1))
        self.planned: list[tuple[str, float]] = []

    def add_after(self, key: str, delay: float) -> None:
        self.planned.append((key, delay))


async def test_a_hypervisor_that_has_lost_what_it_told_is_reported_on_again(node: AgentWorld) -> None:
    reports = Later()
    intake = Intake(node.tools.view, node.reconciler, WorkQueue(Backoff(), Random(1)), reports)

    def take(version: int, status: dict[str, Any]) -> None:
        metadata = {"name": NODE, "uid": "h", "generation": 1, "resourceVersion": str(version)}
        intake.take(HYPERVISOR, "MODIFIED", {"metadata": metadata, "spec": {}, "status": status})

    take(1, {"remains": []})
    take(2, {"remains": [], "publicKey": "k"})
    assert reports.planned == []
    take(3, {"publicKey": "k"})
    assert reports.planned == [(NODE_REPORT, LOSS_PAUSE)]
