"""A node on the real API server whose kubelet is played: Pods and VMs share it, with the agent's part of admission."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import yaml
from tests.integration.operator.apiserver import STATIC
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
from berth_api.kinds import HYPERVISOR, NODE, POD, PRIORITY_CLASS, Kind
from berth_api.quantities import to_bytes, to_millis
from berth_api.virtualmachines import VirtualMachine

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
                if "deletionTimestamp" in pod["metadata"]:
                    await self._end(name, namespace)
                elif (status := self._decide(pod)) is not None:
                    await self.api.apply(
                        POD, name, namespace, {"status": status}, field_manager="kubelet", subresource="status"
                    )

    async def _end(self, name: str, namespace: str) -> None:
        """It has ended: no grace is left. The server takes that from evictions, too."""
        kind = Kind("Eviction", f"pods/{name}/eviction", namespaced=True, group="", version="v1")
        body = {"apiVersion": "policy/v1", "deleteOptions": {"gracePeriodSeconds": 0}, "metadata": {"name": name}}
        await self.api.create(kind, body, namespace)

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
            "conditions": [{"type": "Ready", "status": "True"}, *([] if fits else [denied])],
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


@asynccontextmanager
async def shared_node(world: World) -> AsyncIterator[Node]:
    """The node, until the test is over."""
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
