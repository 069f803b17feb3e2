"""Pods and VMs on one node, with a real API server, kube-scheduler and operator; the kubelet is played.

The agent's part is the real one, too, fed by a real watch: only who answers on the VM is the test.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from tests.integration.operator.apiserver import MORTAL, STATIC, Server
from tests.integration.operator.waiting import eventually
from tests.integration.operator.worlds import World

from berth_agent.cluster_view import ClusterView
from berth_agent.node.anchors import Anchor
from berth_agent.reconcile.admissions import Admissions
from berth_agent.reconcile.plan.admission import Refusal
from berth_api.allocatable import MAX_AMOUNT, Amounts
from berth_api.anchors import Size, anchor_name
from berth_api.client import ApiClient, ApiError, ObjectList, Reflector
from berth_api.fields import SYSTEM_NAMESPACE
from berth_api.hypervisors import HypervisorSpec
from berth_api.kinds import HYPERVISOR, NODE, POD, PRIORITY_CLASS, VIRTUAL_MACHINE
from berth_api.quantities import to_bytes, to_millis
from berth_api.virtualmachines import VirtualMachine

pytestmark = pytest.mark.integration
NAME = "node-1"
ANCHOR = anchor_name(NAME)
GIB = 1024**3
ROOM = Size(4000, 8 * GIB)
SPEC = HypervisorSpec.model_validate({"overcommit": {"cpu": 1}})


def size_of(resources: Mapping[str, str]) -> Size:
    return Size(to_millis(resources.get("cpu", "0")), to_bytes(resources.get("memory", "0")))


def requests_of(pod: Mapping[str, Any]) -> Size:
    return size_of(pod["spec"]["containers"][0].get("resources", {}).get("requests", {}))


class Kubelet:
    """Admits Pods and allocates, one after another, as kubelets do; tells by the Pods' status."""

    def __init__(self, api: ApiClient) -> None:
        self.api = api
        self.allocated: dict[str, Size] = {}
        self.known: dict[str, Mapping[str, Any]] = {}
        self.agent: Anchor | None = None
        self.view = ClusterView()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def upsert(self, body: Mapping[str, Any]) -> None:
        if self.view.put(POD, body) is not None and self.agent is not None:
            self.agent.changed()
        self.known[body["metadata"]["uid"]] = body
        task = asyncio.create_task(self._sync(body["metadata"]["name"], body["metadata"]["namespace"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def remove(self, body: Mapping[str, Any]) -> None:
        self.view.forget(POD, body)
        for of in (self.allocated, self.known):
            of.pop(body["metadata"]["uid"], None)  # type: ignore[attr-defined]
        for known in list(self.known.values()):  # what was denied may fit now
            self.upsert(known)

    def replace(self, listed: ObjectList) -> None:
        """What it names was told already."""
        del listed

    async def _sync(self, name: str, namespace: str) -> None:
        async with self._turn:
            with suppress(ApiError):
                pod = await self.api.get(POD, name, namespace)
                status = self._decide(pod)
                if status is not None:
                    await self.api.apply(
                        POD, name, namespace, {"status": status}, field_manager="kubelet", subresource="status"
                    )

    def _decide(self, pod: Mapping[str, Any]) -> dict[str, Any] | None:
        uid, wanted, phase = pod["metadata"]["uid"], requests_of(pod), pod.get("status", {}).get("phase")
        if phase in ("Failed", "Succeeded"):
            return None
        others = [size for other, size in self.allocated.items() if other != uid]
        free = Size(ROOM.cpu - sum(each.cpu for each in others), ROOM.memory - sum(each.memory for each in others))
        if free.covers(wanted):
            self.allocated[uid] = wanted
        elif uid not in self.allocated:
            return {"phase": "Failed", "reason": "OutOfcpu"}
        container = pod["spec"]["containers"][0]
        given = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": True,
            "restartCount": 0,
            "allocatedResources": self.allocated[uid].to_requests(),
        }
        denied = {"type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "not enough CPU"}
        fits = self.allocated[uid] == wanted
        generation, known = pod["metadata"]["generation"], pod.get("status", {})
        status = {
            "phase": "Running",
            "observedGeneration": generation,
            "containerStatuses": [given],
            "conditions": [] if fits else [denied],
        }
        shown = {each["name"]: each.get("allocatedResources") for each in known.get("containerStatuses", [])}
        pending = any(each["type"] == "PodResizePending" for each in known.get("conditions", []))
        same = shown.get(container["name"]) == given["allocatedResources"] and pending != fits and phase == "Running"
        return None if same and known.get("observedGeneration") == generation else status


class Node:
    """A node whose Pods and VMs share it, with the agent's part of admission."""

    def __init__(self, world: World, kubelet: Kubelet) -> None:
        self.world, self.kubelet = world, kubelet
        self.admissions = Admissions()
        self.agent = kubelet.agent = Anchor(
            world.api, kubelet.view, namespace=SYSTEM_NAMESPACE, node_name=NAME, patience=1.5, limit=20
        )

    async def anchor(self) -> Size:
        """What the anchor requests."""
        return requests_of(await self.world.api.get(POD, ANCHOR, SYSTEM_NAMESPACE))

    async def requests(self, cpu: int, within: float = 15.0) -> None:
        """Wait until the anchor requests so much CPU."""

        async def probe() -> bool:
            assert (await self.anchor()).cpu == cpu, await self.anchor()
            return True

        await eventually(probe, within)

    async def admit(self, name: str) -> Refusal | None:
        """What the agent says to a VM that is bound."""
        vm = VirtualMachine.from_api(await self.world.bound(name))
        claim, uid, room = vm.status.claim, vm.metadata.uid, Amounts(cpu=MAX_AMOUNT, memory=MAX_AMOUNT)
        assert claim is not None
        claim = claim.model_copy(update={"pools": ()})
        return await self.agent.admit(
            uid,
            lambda: self.admissions.needed(uid, claim, SPEC.overcommit),
            lambda: self.admissions.admit(uid, claim, room, SPEC, current_epoch=0),
        )

    async def add_pod(self, name: str, cpu: str, **spec: Any) -> None:
        container = {"name": "c", "image": "c", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}
        body = {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}
        body["spec"]["terminationGracePeriodSeconds"] = 0
        await self.world.api.create(POD, body, "default")

    async def pod(self, name: str) -> dict[str, Any]:
        return await self.world.api.get(POD, name, "default")


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
async def node(world: World, scheduler: None, tmp_path: Path) -> AsyncIterator[Node]:
    del scheduler, tmp_path
    priority = yaml.safe_load((STATIC / "priority.yaml").read_text())
    await world.api.apply(PRIORITY_CLASS, priority["metadata"]["name"], "", priority, field_manager="administrator")
    await world.add_node(NAME, memory="8Gi", cpu="4")
    await world.api.apply(HYPERVISOR, NAME, "", {"spec": {"overcommit": {"cpu": 1}}}, field_manager="administrator")
    have = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    status = {"capacity": have, "allocatable": have}
    await world.api.apply(NODE, NAME, "", {"status": status}, field_manager="kubelet", subresource="status")
    kubelet = Kubelet(world.api)
    watching = asyncio.create_task(Reflector(world.api, POD, kubelet, field_selector=f"spec.nodeName={NAME}").run())
    try:
        yield Node(world, kubelet)
    finally:
        world.kill_all()
        watching.cancel()
        await asyncio.wait([watching])
        for pod in (await world.api.list(POD)).items:
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            failed = {"status": {"phase": "Failed"}}
            with suppress(ApiError):
                await world.api.apply(POD, name, namespace, failed, field_manager="test", subresource="status")
                await world.api.delete(POD, name, namespace)


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
