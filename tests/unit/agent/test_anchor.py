"""Claims wait for the kubelet where the node has an anchor: covered, refused, interrupted; and nobody else does."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.api import FakeApi
from tests.unit.agent.conftest import NODE, AgentWorld

from berth_agent.cluster_view import ClusterView
from berth_agent.node.anchors import INSUFFICIENT, Anchor
from berth_agent.reconcile.plan.admission import Refusal
from berth_api.allocatable import Amounts
from berth_api.anchors import Size
from berth_api.kinds import POD, VIRTUAL_MACHINE

virtual_time = pytest.mark.looptime
"""Not where qemu-img runs: it takes real time."""
GIB = 1024**3
SYSTEM = "berth-system"
DEFERRED = {"type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "no room"}


def anchor_body(allocated: Size, requests: Size | None = None, *conditions: dict[str, str]) -> dict[str, Any]:
    wanted = (requests or allocated).to_requests()
    return {
        "metadata": {"name": f"berth-anchor-{NODE}", "namespace": SYSTEM, "labels": {"berth.dev/anchor": "true"}},
        "spec": {"nodeName": NODE, "containers": [{"name": "anchor", "resources": {"requests": wanted}}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "anchor", "allocatedResources": allocated.to_requests()}],
            "conditions": list(conditions),
        },
    }


class Node:
    """A node with an anchor, and claims of 1 CPU each that want to be admitted."""

    def __init__(self) -> None:
        self.api, self.view = FakeApi(), ClusterView()
        self.anchor = Anchor(self.api, self.view, namespace=SYSTEM, node_name=NODE, patience=5, limit=30)
        self.admitted: list[str] = []

    def put(self, cpu: int, requested: int | None = None, *conditions: dict[str, str], seen: bool = True) -> None:
        """The anchor is this by now, and the watch tells, or has not told yet."""
        size, requests = Size(cpu, GIB), Size(requested or cpu, GIB)
        body = self.api.add(POD, anchor_body(size, requests, *conditions))
        if seen:
            self.view.put(POD, body)
            self.anchor.changed()

    def admit(self, uid: str) -> "asyncio.Task[Refusal | None]":
        def needed() -> Size:
            return Size(1000 * (len(self.admitted) + 1), GIB)

        def take() -> None:
            self.admitted.append(uid)

        return asyncio.create_task(self.anchor.admit(uid, needed, take))


@virtual_time
async def test_a_covered_claim_is_admitted_after_one_question() -> None:
    node = Node()
    node.put(3000)
    assert await asyncio.gather(*(node.admit(uid) for uid in "abc")) == [None, None, None]
    assert len(node.api.calls) == 1, "all who ask together ask once"


@virtual_time
async def test_a_claim_is_not_admitted_on_what_a_watch_shows_that_is_behind() -> None:
    node = Node()
    node.put(1000)
    node.put(1, seen=False)
    waiting = node.admit("a")
    await asyncio.sleep(3)
    assert not waiting.done()
    node.put(1000)
    assert await waiting is None


@virtual_time
async def test_a_claim_waits_for_the_kubelet_and_is_admitted_the_moment_it_says_so() -> None:
    node, began = Node(), asyncio.get_running_loop().time()
    waiting = [node.admit(uid) for uid in "ab"]
    await asyncio.sleep(2)
    node.put(1, 2000)
    await asyncio.sleep(2)
    assert node.admitted == []
    assert node.anchor.waiting == 2
    node.put(2000)
    assert await asyncio.gather(*waiting) == [None, None]
    assert asyncio.get_running_loop().time() - began < 4.1
    assert node.anchor.waiting == 0


@virtual_time
async def test_what_the_watch_tells_while_the_kubelets_word_is_asked_for_wakes_the_claim() -> None:
    node, began = Node(), asyncio.get_running_loop().time()
    node.put(1000)
    node.put(1, seen=False)
    answer = node.api.get

    async def late(*args: Any, **kwargs: Any) -> Any:
        found = await answer(*args, **kwargs)
        node.api.get = answer  # type: ignore[method-assign]
        node.put(1000)
        await asyncio.sleep(0.1)
        return found

    node.api.get = late  # type: ignore[method-assign]
    assert await node.admit("a") is None
    assert asyncio.get_running_loop().time() - began < 1


@virtual_time
async def test_what_the_kubelet_denies_for_some_seconds_is_refused_and_the_message_says_who_holds_it() -> None:
    node, began = Node(), asyncio.get_running_loop().time()
    node.put(1, 1000, DEFERRED)
    refusal = await node.admit("a")
    assert refusal is not None
    assert 5 <= asyncio.get_running_loop().time() - began < 5.5
    assert refusal.reason == INSUFFICIENT
    assert refusal.message == (
        "the node's Pods hold what is lacking: VMs would have CPU 1, memory 1Gi of the node, "
        "the kubelet has allocated them CPU 1m, memory 1Gi (Deferred: no room)"
    )


@virtual_time
async def test_where_nobody_says_anything_a_claim_is_refused_later() -> None:
    node, began = Node(), asyncio.get_running_loop().time()
    refusal = await node.admit("a")
    assert refusal is not None
    assert 30 <= asyncio.get_running_loop().time() - began < 31
    assert "nobody has made room for it in 30 s" in refusal.message


@virtual_time
async def test_the_younger_half_is_refused_first_and_the_older_fit_without_them() -> None:
    node = Node()
    node.put(1, 4000, DEFERRED)
    waiting = [node.admit(uid) for uid in "abcd"]
    await asyncio.sleep(5.5)
    assert [task.done() for task in waiting] == [False, False, True, True]
    node.put(2000)
    assert await asyncio.gather(*waiting[:2]) == [None, None]


@virtual_time
async def test_a_claim_that_is_given_up_leaves_nothing() -> None:
    node = Node()
    waiting = node.admit("a")
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert node.anchor.waiting == 0


def anchored(node: AgentWorld, *, patience: float = 0.05, limit: float = 0.2) -> AgentWorld:
    """The same node, whose agent goes by an anchor."""
    anchor = Anchor(node.api, node.tools.view, namespace=SYSTEM, node_name=NODE, patience=patience, limit=limit)
    node.tools = replace(node.tools, anchor=anchor)
    node.reconciler = node.new_reconciler()
    return node


def show(node: AgentWorld, body: dict[str, Any]) -> None:
    node.tools.view.put(POD, node.api.add(POD, body))


async def test_a_vm_that_is_covered_runs(node: AgentWorld) -> None:
    show(anchored(node), anchor_body(Size(1000, GIB)))
    await node.reconcile()
    assert node.status["phase"] == "Running"


async def test_a_vm_that_the_pods_leave_no_room_for_is_refused_and_nothing_is_made(node: AgentWorld) -> None:
    show(anchored(node), anchor_body(Size(1, GIB), Size(1000, GIB), DEFERRED))
    await node.reconcile()
    assert node.status["refusedClaim"] == "claim-1"
    ready = next(c for c in node.status["conditions"] if c["type"] == "Ready")
    assert ready["message"].startswith("InsufficientResources: the node's Pods hold")
    assert not node.hypervisor.xml


async def test_what_pods_request_is_the_kubelets_business(node: AgentWorld) -> None:
    show(anchored(node), anchor_body(Size(1000, GIB)))
    show(
        node,
        {
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"nodeName": NODE, "containers": [{"name": "c", "resources": {"requests": {"cpu": "1k"}}}]},
        },
    )
    await node.reconcile()
    assert node.status["phase"] == "Running", "a Pod that does not fit is about to be turned down"


async def test_a_guest_that_runs_is_left_alone_after_a_restart_although_its_anchor_is_gone(node: AgentWorld) -> None:
    show(anchored(node), anchor_body(Size(1000, GIB)))
    await node.reconcile()
    node.api.remove(POD, f"berth-anchor-{NODE}", SYSTEM)
    await node.restart()
    anchored(node)
    node.tools.admissions.load(node.tools.view.vms())
    await node.settle()
    assert (node.status["phase"], node.status["admittedClaim"]) == ("Running", "claim-1")
    assert "destroy" not in node.hypervisor.methods()


async def test_a_running_guest_keeps_its_claim_where_a_larger_one_is_not_covered(node: AgentWorld) -> None:
    show(anchored(node), anchor_body(Size(1000, GIB)))
    await node.reconcile()
    body = node.vm
    assert body is not None
    body["status"]["claim"] |= {"id": "claim-2", "cpu": "8"}
    node.add(VIRTUAL_MACHINE, body)
    await node.reconcile()
    assert (node.status["phase"], node.status["admittedClaim"]) == ("Running", "claim-1")
    assert "refusedClaim" not in node.status


async def test_an_anchor_does_not_count_among_the_pods(node: AgentWorld) -> None:
    show(node, anchor_body(Size(4000, GIB)))
    assert node.tools.view.pod_requests() == Amounts()
    theirs = anchor_body(Size(4000, GIB))
    theirs["metadata"]["namespace"] = "default"
    show(node, theirs)
    assert node.tools.view.pod_requests() == Amounts(cpu=4000, memory=GIB), "anybody may label a Pod"
