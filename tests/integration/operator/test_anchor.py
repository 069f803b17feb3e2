"""Pods and VMs on one node, with a real API server, kube-scheduler and operator; the kubelet is played.

The agent's part is the real one, too, fed by a real watch: only who answers on the VM is the test.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.integration.operator.apiserver import MORTAL, Server
from tests.integration.operator.kubelets import ANCHOR, NAME, Node, shared_node
from tests.integration.operator.waiting import eventually
from tests.integration.operator.worlds import World

from berth_agent.reconcile.plan.admission import Refusal
from berth_api.fields import SYSTEM_NAMESPACE
from berth_api.kinds import HYPERVISOR, POD, VIRTUAL_MACHINE

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def scheduler(server: Server) -> Iterator[None]:
    """A real kube-scheduler."""
    with (server.folder / "kube-scheduler.log").open("ab") as log:
        process = subprocess.Popen(
            [
                *MORTAL,
                server.binaries / "kube-scheduler",
                f"--kubeconfig={server.kubeconfig}",
                "--leader-elect=false",
                "--secure-port=0",
            ],
            stdout=log,
            stderr=log,
        )
    yield
    process.kill()
    process.wait(10)


@pytest_asyncio.fixture
async def node(world: World, scheduler: None) -> AsyncIterator[Node]:
    del scheduler
    async with shared_node(world) as one:
        yield one


async def test_a_pod_waits_while_vms_hold_the_node_and_comes_when_they_go(node: Node) -> None:
    world = node.world
    async with world.operator(anchor="true", anchor_image="pause"):
        await node.requests(1)
        await world.create_vm("a", cpu={"cores": 3})
        assert await node.admit("a") is None
        await node.add_pod("p", "2")

        async def turned_down() -> bool:
            conditions = (await node.pod("p")).get("status", {}).get("conditions", [])
            return any("Insufficient cpu" in each.get("message", "") for each in conditions)

        await eventually(turned_down, 30)
        vm = await world.vm("a")
        await world.answer("a", admittedClaim=vm["status"]["claim"]["id"], releasedClaim=vm["status"]["claim"]["id"])
        await world.api.delete(VIRTUAL_MACHINE, "a", "default")

        async def runs() -> bool:
            return (await node.pod("p")).get("status", {}).get("phase") == "Running"

        await eventually(runs, 40)
        assert (await node.anchor()).cpu == 1


async def test_a_vm_is_refused_while_pods_hold_the_node_and_leaves_nothing_on_the_anchor(node: Node) -> None:
    world = node.world
    async with world.operator(anchor="true", anchor_image="pause"):
        await node.requests(1)
        await node.add_pod("p", "3", nodeName=NAME)

        async def runs() -> bool:
            return (await node.pod("p")).get("status", {}).get("phase") == "Running"

        await eventually(runs, 30)
        await world.create_vm("a", cpu={"cores": 2})  # no agent has reported the Pod yet
        refusal = await node.admit("a")
        assert refusal is not None
        assert refusal.message.startswith("the node's Pods hold what is lacking")
        vm = await world.vm("a")
        await world.answer("a", refusedClaim=vm["status"]["claim"]["id"])
        await node.requests(1)


@pytest.mark.parametrize("first", ["pod", "vm", "both"])
async def test_of_a_pod_and_a_vm_that_do_not_fit_together_one_gets_the_node(node: Node, first: str) -> None:
    world = node.world
    async with world.operator(anchor="true", anchor_image="pause"):
        await node.requests(1)

        async def pod() -> None:
            await node.add_pod("p", "3", nodeName=NAME)

        async def vm() -> Refusal | None:
            await world.create_vm("a", cpu={"cores": 3})
            return await node.admit("a")

        if first == "pod":
            await pod()
            refusal = await vm()
        elif first == "vm":
            refusal = await vm()
            await pod()
        else:
            refusal, _ = await asyncio.gather(vm(), pod())

        async def decided() -> str:
            phase = (await node.pod("p")).get("status", {}).get("phase", "")
            return phase if phase in ("Running", "Failed") else ""

        runs = {"pod": await eventually(decided, 20) == "Running", "vm": refusal is None}
        assert list(runs.values()).count(True) == 1, runs
        assert first == "both" or runs[first]


async def test_a_storm_of_bindings_is_a_few_resizes(node: Node) -> None:
    world = node.world
    async with world.operator(anchor="true", anchor_image="pause"):
        await node.requests(1)
        await world.api.apply(
            HYPERVISOR, NAME, "", {"spec": {"overcommit": {"cpu": 32}}}, field_manager="administrator"
        )
        offset = world.server.audit.stat().st_size
        await asyncio.gather(*(world.create_vm(f"vm-{n}", memory={"size": "64Mi"}) for n in range(24)))
        for number in range(24):
            await world.bound(f"vm-{number}", 30)
        await node.requests(750, 20)
        writes, _ = world.server.writes_since(offset)
        assert 1 <= len([one for one in writes if "/resize" in one["requestURI"]]) <= 6


async def test_an_anchor_that_went_comes_back_beside_a_pod_that_slipped_in(node: Node) -> None:
    world = node.world
    async with world.operator(anchor="true", anchor_image="pause"):
        await node.requests(1)
        await world.create_vm("a", cpu={"cores": 3})
        assert await node.admit("a") is None
        await world.answer("a", admittedClaim=(await world.vm("a"))["status"]["claim"]["id"])
    gone = await world.api.get(POD, ANCHOR, SYSTEM_NAMESPACE)
    failed = {"status": {"phase": "Failed", "reason": "Preempting"}}
    await world.api.apply(POD, ANCHOR, SYSTEM_NAMESPACE, failed, field_manager="kubelet", subresource="status")
    await world.api.delete(POD, ANCHOR, SYSTEM_NAMESPACE)
    await node.add_pod("p", "2", nodeName=NAME)

    async def runs() -> bool:
        return (await node.pod("p")).get("status", {}).get("phase") == "Running"

    await eventually(runs, 20)
    async with world.operator(anchor="true", anchor_image="pause"):

        async def stands() -> bool:
            pod = await world.api.get(POD, ANCHOR, SYSTEM_NAMESPACE)
            conditions = pod.get("status", {}).get("conditions", [])
            denied = [each["reason"] for each in conditions if each["type"] == "PodResizePending"]
            return pod["metadata"]["uid"] != gone["metadata"]["uid"] and denied == ["Deferred"]

        await eventually(stands, 30)
        assert (await node.anchor()).cpu == 3000, "what kube-scheduler counts, though the Pod has some of it"


async def test_anchors_that_are_turned_off_go(node: Node) -> None:
    world = node.world
    async with world.operator(anchor="true", anchor_image="pause"):
        await node.requests(1)
    async with world.operator():

        async def gone() -> bool:
            pods = (await world.api.list(POD, SYSTEM_NAMESPACE)).items
            return all(pod["metadata"].get("deletionTimestamp") for pod in pods)

        await eventually(gone, 30)
