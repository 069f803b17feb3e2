"""A cluster in memory with one node, and the controller of anchors at work on it. Time is virtual."""

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

from tests.fakes.api import FakeApi

from berth_api.anchors import Size, anchor_name
from berth_api.backoffs import Backoff
from berth_api.fields import AGENT
from berth_api.kinds import HYPERVISOR, NODE, POD, POD_DISRUPTION_BUDGET
from berth_api.quantities import to_bytes, to_millis
from berth_api.workqueues import WorkQueue
from berth_operator.cluster import Cluster
from berth_operator.controllers.anchorplans import Times
from berth_operator.controllers.anchors import Anchors
from berth_operator.leases import Leadership
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.ledger import Ledger
from berth_operator.scheduling.snapshot import Snapshot

GIB = 1024**3
NAME, SYSTEM = "node-1", "berth-system"
ANCHOR = anchor_name(NAME)


class GatedApi(FakeApi):
    """Keeps writes of the operator waiting while the gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.knocked = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def apply(self, *args: Any, **options: Any) -> dict[str, Any]:
        self.knocked.set()
        await self.gate.wait()
        return await super().apply(*args, **options)

    async def delete(self, *args: Any, **options: Any) -> None:
        self.knocked.set()
        await self.gate.wait()
        await super().delete(*args, **options)


class World:
    """One node, whose claims tests change; the kubelet is played by tests."""

    def __init__(self, image: str = "pause") -> None:
        self.api, self.loop = GatedApi(), asyncio.get_running_loop()
        self.written: list[str] = []
        self.times: list[float] = []
        self.refusals = 0
        self.tracks = True
        self.cluster = Cluster(SYSTEM, anchored=True)
        self.ledger = Ledger(Snapshot())
        self.queue: WorkQueue[str] = WorkQueue(Backoff(0.1, 1.0), Random(1))
        self.lead_by(image)
        self.ledger.tell(self._claims_changed)
        self.cluster.anchors.listen(lambda _change: self.queue.add(NAME))
        self.cluster.budgets.listen(lambda _change: self.queue.add(NAME))
        self.leadership = Leadership(1, self.loop.time() + 1e9, self.loop.time)
        self._working: asyncio.Task[None] | None = None

    def lead_by(self, image: str, *pull_secrets: str) -> None:
        """An operator with these settings; to be started."""
        self.anchors = Anchors(
            self.api,
            self.cluster,
            self.ledger,
            namespace=SYSTEM,
            image=image,
            pull_secrets=pull_secrets,
            clock=self.loop.time,
            random=Random(1),
            counts=self,
            times=Times(),
        )

    def anchor_written(self, action: str) -> None:
        self.written.append(action)
        self.times.append(self.loop.time())

    def anchor_refused(self) -> None:
        self.refusals += 1

    def _claims_changed(self, node: str) -> None:
        self.anchors.claims_changed(node)
        self.queue.add(node)

    async def start(self, *, spec: dict[str, Any] | None = None, allocatable: dict[str, str] | None = None) -> None:
        """Lead; at first with a node that has no anchor yet."""
        if self.api.peek(NODE, NAME) is None:
            seen = {"capacity": {"cpu": "64", "memory": "256Gi"}}
            self.api.add(
                HYPERVISOR, {"metadata": {"name": NAME}, "spec": spec or {"overcommit": {"cpu": 1}}, "status": seen}
            )
            status = {"status": {"allocatable": allocatable}} if allocatable else {}
            self.api.add(NODE, {"metadata": {"name": NAME}, **status})
        await self.see()
        self._working = asyncio.create_task(self.queue.run(lambda n: self.anchors.reconcile(n, self.leadership), 2))
        self.queue.add(NAME)
        await asyncio.sleep(0.1)

    async def stop(self) -> None:
        assert self._working is not None
        self._working.cancel()
        with suppress(asyncio.CancelledError):
            await self._working

    async def see(self) -> None:
        """The watches deliver everything."""
        for collection in (self.cluster.hypervisors, self.cluster.nodes, *self.cluster.kept):
            collection.replace(
                await self.api.list(collection.kind, collection.namespace, label_selector=collection.label_selector)
            )

    def claim(self, name: str, *, cpu: int = 1000, memory: int = GIB) -> None:
        """A VM's claim counts."""
        self.ledger.observe(name, Holding(name, f"default/{name}", f"claim-{name}", NAME, cpu, memory))

    def admit(self, name: str) -> None:
        """The node's agent has admitted what the VM claims."""
        metadata = {"name": name, "namespace": "default", "uid": name, "resourceVersion": "1"}
        status = {"admittedClaim": f"claim-{name}"}
        self.cluster.machines.upsert({"metadata": metadata, "spec": {}, "status": status})

    def release(self, name: str) -> None:
        self.ledger.observe(name, None)

    async def kubelet(self, *, deny: bool = False, **status: Any) -> None:
        """The kubelet allocates what is requested, or nothing more; and the watch tells."""
        given = {"name": "anchor", "allocatedResources": self.requests.to_requests()}
        denied = [{"type": "PodResizePending", "status": "True", "reason": "Deferred"}]
        pod = self.pod["status"] if deny else {}
        body = {"phase": "Running", "containerStatuses": pod.get("containerStatuses", [given]), "conditions": []}
        body |= {"conditions": denied} if deny else {}
        body |= {"observedGeneration": self.pod["metadata"]["generation"]} if self.tracks else {}
        await self.api.apply(POD, ANCHOR, SYSTEM, {"status": body | status}, field_manager=AGENT, subresource="status")
        await self.see()

    @property
    def pod(self) -> dict[str, Any]:
        """The anchor as the server has it."""
        found = self.api.peek(POD, ANCHOR, SYSTEM)
        assert found is not None
        found.setdefault("status", {})
        return found

    async def node(self, *, cordoned: bool = False, taint: str = "") -> None:
        """The Node is cordoned, or tainted with this effect, or neither; and the watch tells."""
        body: dict[str, Any] = self.api.peek(NODE, NAME) or {}
        taints = [{"key": "example.com/a", "effect": taint}] if taint else []
        self.api.remove(NODE, NAME)
        self.api.add(NODE, body | {"spec": {"unschedulable": cordoned, "taints": taints}})
        await self.see()
        self.queue.add(NAME)
        await asyncio.sleep(0.1)

    async def evict(self) -> int:
        """What the server says to an eviction of the anchor; and the watch tells."""
        labels = self.pod["metadata"]["labels"]
        for body in (await self.api.list(POD_DISRUPTION_BUDGET, SYSTEM)).items:
            selector = body["spec"]["selector"]["matchLabels"]
            if selector.items() <= labels.items():
                return 429
        self.api.remove(POD, ANCHOR, SYSTEM)
        await self.see()
        await asyncio.sleep(0.1)
        return 201

    @property
    def requests(self) -> Size:
        """What the anchor requests."""
        requests = self.pod["spec"]["containers"][0]["resources"]["requests"]
        return Size(to_millis(requests["cpu"]), to_bytes(requests["memory"]))
