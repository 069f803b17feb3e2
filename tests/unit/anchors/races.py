"""A node on which all happens at any moment: the real controller and the real agent's part around a played server.

The server takes its time, does what nobody waits for any longer, and its watches are late. The kubelet takes in one
state of the anchor after another, some never, gives out what is left to Pods that come at any moment, and tells of it
later. Nothing here counts requests as kube-scheduler would: every Pod gets as far as the kubelet.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fakes.api import FakeApi

from berth_agent.cluster_view import ClusterView
from berth_agent.node.anchors import Anchor as AgentsAnchor
from berth_agent.reconcile.admissions import Admissions
from berth_agent.reconcile.plan.admission import Refusal
from berth_api.allocatable import MAX_AMOUNT, Amounts
from berth_api.anchors import Size, anchor_name, anchored
from berth_api.backoffs import Backoff
from berth_api.client import Conflict, DeadlineExceeded
from berth_api.hypervisors import HypervisorSpec, Overcommit
from berth_api.kinds import HYPERVISOR, NODE, POD
from berth_api.quantities import from_bytes, from_millis, to_bytes, to_millis
from berth_api.virtualmachines import Claim
from berth_api.workqueues import WorkQueue
from berth_operator.cluster import Cluster
from berth_operator.controllers.anchorplans import Times
from berth_operator.controllers.anchors import Anchors
from berth_operator.leases import Leadership
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.ledger import Ledger
from berth_operator.scheduling.snapshot import Snapshot

MIB, GIB = 1024**2, 1024**3
NAME, SYSTEM = "node-1", "berth-system"
ROOM = Size(8000, 16 * GIB)
RATIO = Overcommit(cpu=2.0, memory=1.0)
_SEEN = {"capacity": {"cpu": "8", "memory": "16Gi"}}


class LateApi(FakeApi):
    """Does each write some time later, also when nobody waits for it any longer."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random

    async def get(self, *args: Any, **options: Any) -> dict[str, Any]:
        await self.pause(0.05)
        found = await super().get(*args, **options)
        await self.pause(0.02)
        return found

    async def apply(self, *args: Any, **options: Any) -> dict[str, Any]:
        async def do() -> dict[str, Any]:
            await self.pause(self.random.choice((0.05, 2.0)))
            return await FakeApi.apply(self, *args, **options)

        done = asyncio.create_task(do())
        done.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            async with asyncio.timeout(self.random.choice((0.1, 5.0, 5.0))):
                return await asyncio.shield(done)
        except TimeoutError:
            raise DeadlineExceeded(0, "", "no answer") from None

    async def pause(self, most: float) -> None:
        await asyncio.sleep(self.random.random() ** 3 * most)

    async def write_status(self, status: dict[str, Any]) -> None:
        """As a kubelet does."""
        await super().apply(
            POD, anchor_name(NAME), SYSTEM, {"status": status}, field_manager="kubelet", subresource="status"
        )


class Kubelet:
    """Gives out the node."""

    def __init__(self, api: LateApi, random: Random, changed: Callable[[], None]) -> None:
        self.api, self.random, self.changed = api, random, changed
        self.tracks = random.random() < 0.5
        self.allocated = Size()
        self.pods: dict[int, Size] = {}
        self.turned_down = 0

    async def run(self) -> None:
        """Take in the anchor, and tell of it."""
        while True:
            await asyncio.sleep(0.02 + self.random.random() ** 3 * 0.4)
            pod = self.api.peek(POD, anchor_name(NAME), SYSTEM)
            if pod is None:
                continue
            status = self._take_in(_size(pod["spec"]["containers"][0]["resources"]["requests"]))
            if self.tracks:
                status["observedGeneration"] = pod["metadata"]["generation"]
            await asyncio.sleep(self.random.random() ** 2 * self.random.choice((0.1, 3.0)))
            await self.api.write_status(status)

    def _take_in(self, requests: Size) -> dict[str, Any]:
        denied = not self.fits(requests)
        if not denied:
            self.allocated = requests
            self.changed()
        given = {"name": "anchor", "allocatedResources": self.allocated.to_requests()}
        condition = {"type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "no room"}
        return {"phase": "Running", "containerStatuses": [given], "conditions": [condition] if denied else []}

    def fits(self, anchor: Size) -> bool:
        together = anchor
        for pod in self.pods.values():
            together = together + pod
        return ROOM.covers(together)

    async def add_pods(self) -> None:
        """Pods that come and go."""
        for number in range(10**6):
            await asyncio.sleep(self.random.random() * 1.0)
            self.pods[number] = Size(self.random.randrange(100, 4000), self.random.randrange(1, 8) * GIB)
            if not self.fits(self.allocated):
                del self.pods[number]
                self.turned_down += 1
            if len(self.pods) > self.random.randrange(6):
                del self.pods[next(iter(self.pods))]


def _size(requests: dict[str, str]) -> Size:
    return Size(to_millis(requests["cpu"]), to_bytes(requests["memory"]))


class Race:
    """One node, its kubelet and agent, and a leading operator that is replaced now and then."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.api = LateApi(self.random)
        self.kubelet = Kubelet(self.api, self.random, lambda: self.judge("allocated"))
        self.cluster = Cluster(SYSTEM, anchored=True)
        self.api.add(HYPERVISOR, {"metadata": {"name": NAME}, "spec": {"overcommit": RATIO.to_api()}, "status": _SEEN})
        self.api.add(NODE, {"metadata": {"name": NAME}})
        self.queue: WorkQueue[str] = WorkQueue(Backoff(0.1, 2.0), self.random)
        self.loop = asyncio.get_running_loop()
        self.view = ClusterView()
        self.admissions = Admissions()
        self.agent = AgentsAnchor(self.api, self.view, namespace=SYSTEM, node_name=NAME, patience=3.0, limit=20.0)
        self.admitted = self.refused = self.resizes = 0
        self.overbooked: list[str] = []
        self.ledger = Ledger(Snapshot())
        self.anchors = Anchors(
            self.api,
            self.cluster,
            self.ledger,
            namespace=SYSTEM,
            image="pause",
            clock=self.loop.time,
            random=self.random,
            counts=self,
            times=Times(answer=0.5, shrink=0.3, recreate=1e6),
        )
        self.ledger.tell(self._claims_changed)
        self.cluster.anchors.listen(lambda _change: self.queue.add(NAME))
        self.leadership = Leadership(1, 1e12, self.loop.time)

    def anchor_written(self, action: str) -> None:
        self.resizes += action == "resize"

    def anchor_refused(self) -> None:
        raise AssertionError("this server refuses nothing")

    def _claims_changed(self, node: str) -> None:
        self.anchors.claims_changed(node)
        self.queue.add(node)

    async def run(self, *, claims: int) -> None:
        """Let so many claims come and go, all in a few virtual minutes."""
        for collection in (self.cluster.hypervisors, self.cluster.nodes):
            collection.replace(await FakeApi.list(self.api, collection.kind))
        self.queue.add(NAME)
        background = [
            asyncio.create_task(each)
            for each in (
                self._lead(),
                self.kubelet.run(),
                self._tell_operator(),
                self._tell_agent(),
            )
        ]
        pods = asyncio.create_task(self.kubelet.add_pods())
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(claims):
                    group.create_task(self._live(number))
            pods.cancel()
            self.kubelet.pods.clear()
            await asyncio.sleep(20)
        finally:
            for task in (*background, pods):
                task.cancel()
            await asyncio.wait([*background, pods])
        for task in background:
            if not task.cancelled():
                task.result()

    async def _lead(self) -> None:
        """Work until replaced; what was sent stays sent."""
        while True:
            term = asyncio.create_task(self.queue.run(lambda node: self.anchors.reconcile(node, self.leadership), 2))
            try:
                await asyncio.sleep(1 + self.random.random() * 15)
            finally:
                term.cancel()
                await asyncio.wait([term])
            self.anchors.reset()
            self.queue.add(NAME)

    async def _tell_operator(self) -> None:
        while True:
            found = self.api.peek(POD, anchor_name(NAME), SYSTEM)
            await asyncio.sleep(0.03 + self.random.random() ** 3 * 0.3)
            if found is not None:
                self.cluster.anchors.upsert(found)

    async def _tell_agent(self) -> None:
        while True:
            found = self.api.peek(POD, anchor_name(NAME), SYSTEM)
            await asyncio.sleep(0.03 + self.random.random() ** 3 * 0.6)
            if found is not None and self.view.put(POD, found) is not None:
                self.agent.changed()

    def judge(self, when: str) -> None:
        """Note it where admitted VMs have more than the kubelet has set aside for them."""
        nothing = Claim(id="none", epoch=0, cpu="0", memory="0", storage="0")
        taken = self.admissions.needed("nobody", nothing, RATIO)
        if not self.kubelet.allocated.covers(taken) and self.admitted:
            self.overbooked.append(f"{self.loop.time():.3f} {when}: {taken} of {self.kubelet.allocated}")

    async def _live(self, number: int) -> None:
        """A VM that is bound, admitted or refused, and deleted again, a few times."""
        await asyncio.sleep(self.random.random() * 10)
        for turn in range(3):
            uid = f"vm-{number}"
            claim = Claim(
                id=f"{uid}-{turn}",
                epoch=1,
                cpu=from_millis(self.random.choice((500, 1000, 4000))),
                memory=from_bytes(self.random.choice((1, 2, 4)) * GIB),
                storage="0",
            )
            if await self._bind(uid, claim):
                await self.api.pause(0.1)
                await self._run_vm(uid, claim)
                await self.api.pause(0.3)
                self.ledger.observe(uid, None)
            await asyncio.sleep(self.random.random() * 3)

    async def _bind(self, uid: str, claim: Claim) -> bool:
        size = _size({"cpu": claim.cpu, "memory": claim.memory})
        holding = Holding(uid, f"default/{uid}", claim.id, NAME, size.cpu, size.memory)
        self.ledger.assume(holding)
        try:
            await self.anchors.before_binding(NAME, self.leadership)
        except (Conflict, DeadlineExceeded):
            self.ledger.settle(uid)
            return False
        await self.api.pause(0.05)
        self.ledger.observe(uid, holding)
        self.ledger.settle(uid)
        return True

    async def _run_vm(self, uid: str, claim: Claim) -> None:
        room = Amounts(cpu=MAX_AMOUNT, memory=MAX_AMOUNT)

        def take() -> Refusal | None:
            refusal = self.admissions.admit(uid, claim, room, HypervisorSpec(), current_epoch=1)
            self.admitted += 1
            self.judge(f"admitted {claim.id}")
            return refusal

        refusal = await self.agent.admit(uid, lambda: self.admissions.needed(uid, claim, RATIO), take)
        if refusal is not None:
            self.refused += 1
            return
        await asyncio.sleep(self.random.random() * 4)
        self.admissions.release(uid)

    @property
    def at_rest(self) -> bool:
        """Whether everything has come to an end: no claim, nothing allocated for one."""
        requests = _size(
            (self.api.peek(POD, anchor_name(NAME), SYSTEM) or {})["spec"]["containers"][0]["resources"]["requests"]
        )
        least = anchored(Size(), RATIO)
        return len(self.ledger) == 0 and requests.cpu == least.cpu and self.kubelet.allocated == requests
