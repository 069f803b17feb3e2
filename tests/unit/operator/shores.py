"""A cluster for the test of a whole operation: users, nodes' agents, leaders, and the fence between them."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from tests.fakes.api import FakeApi
from tests.unit.operator.gates import GatedApi, GatedWorld
from tests.unit.operator.worlds import vm_body

from berth_api import kinds
from berth_api.client import Forbidden
from berth_api.fields import AGENT, FINALIZER, OPERATOR
from berth_api.kinds import VIRTUAL_MACHINE, Kind
from berth_api.virtualmachines import VirtualMachine
from berth_operator.leases import Leadership
from berth_operator.operation import Operation
from berth_operator.scheduling.holdings import Holding, held_by

APART = {
    "vmAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}
        ]
    }
}


class FencedApi(GatedApi):
    """A write that was sent is done, whoever still waits for it; a binding of an epoch that is over is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0
        self._landing: set[asyncio.Task[dict[str, Any]]] = set()

    async def apply(self, kind: Kind, name: str, *args: Any, **options: Any) -> dict[str, Any]:
        landing = asyncio.create_task(self._land(kind, name, *args, **options))
        self._landing.add(landing)
        landing.add_done_callback(self._landed)
        return await asyncio.shield(landing)

    def _landed(self, task: "asyncio.Task[dict[str, Any]]") -> None:
        self._landing.discard(task)
        if not task.cancelled():
            task.exception()

    async def _land(self, kind: Kind, name: str, namespace: str, body: dict[str, Any], **options: Any) -> Any:
        await asyncio.sleep(self.latency)
        claim = body.get("status", {}).get("claim")
        stored = self._objects.get((kind.plural, namespace, name), {}).get("status", {}).get("claim")
        if options["field_manager"] == OPERATOR and claim and claim != stored and claim["epoch"] < self.epoch:
            raise Forbidden(403, "Forbidden", f"epoch {claim['epoch']} is over")
        return await FakeApi.apply(self, kind, name, namespace, body, **options)

    async def undisturbed(self, call: Coroutine[Any, Any, Any]) -> None:
        """A call of somebody whose troubles are not the test's: at once, and without fault."""
        faults, self._faults = self._faults, []
        try:
            await call
        finally:
            self._faults = faults

    def heal(self) -> None:
        """All faults are over."""
        self._faults.clear()
        self.latency = 0.0


class Shore(GatedWorld):
    """The cluster, who leads it, and who led it and has not noticed its end."""

    api: FencedApi

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.api = FencedApi()
        self.operation = self.new_operation()
        self.furnish(cidr="10.7.0.0/29")
        self.terms: list[tuple[Operation, Leadership, asyncio.Task[None]]] = []

    @property
    def operations(self) -> list[Operation]:
        return list({id(term[0]): term[0] for term in self.terms}.values())

    def begin_term(self) -> None:
        """The Lease names a new holder, who then lists everything."""
        self.api.epoch += 1
        self.leadership = Leadership(epoch=self.api.epoch, until=self.loop.time() + 1e9, clock=self.loop.time)
        task = asyncio.create_task(self.operation.lead(self.leadership))
        self.terms.append((self.operation, self.leadership, task))

    async def end_terms(self) -> None:
        for _, _, task in self.terms:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.terms.clear()

    def machines(self) -> list[VirtualMachine]:
        bodies = [body for (plural, *_), body in self.api._objects.items() if plural == VIRTUAL_MACHINE.plural]
        return [VirtualMachine.from_api(body) for body in bodies]

    def claims(self) -> list[Holding]:
        """What the API server shows to be held."""
        return [held for held in map(held_by, self.machines()) if held is not None]

    def launch(self, name: str, *, cores: int, apart: bool, secret: bool, finalizer: bool) -> None:
        body = vm_body(name, finalizers=(FINALIZER,) if finalizer else (), cpu={"cores": cores})
        if apart:
            body["metadata"]["labels"] = {"app": "db"}
            body["spec"]["affinity"] = APART
        if secret:
            body["spec"]["cloudInit"] = {"userDataSecretRef": {"name": "s", "key": "k"}}
        self.api.add(VIRTUAL_MACHINE, body)

    async def edit(self, name: str, path: str, value: Any) -> None:
        await self.patch(VIRTUAL_MACHINE, name, path, value, "default")

    async def patch(self, kind: Kind, name: str, path: str, value: Any, namespace: str = "") -> None:
        patch = [{"op": "add", "path": path, "value": value}]
        await self.api.undisturbed(self.api.patch_json(kind, name, namespace, patch))

    async def delete(self, name: str) -> None:
        await self.api.undisturbed(self.api.delete(VIRTUAL_MACHINE, name, "default"))

    async def agent(self, name: str, **status: Any) -> None:
        body = {"status": status}
        who: dict[str, Any] = {"field_manager": AGENT, "subresource": "status"}
        await self.api.undisturbed(FakeApi.apply(self.api, VIRTUAL_MACHINE, name, "default", body, **who))

    def add_labelled_node(self, name: str) -> None:
        self.add_node(name)
        body = self.api._objects[(kinds.NODE.plural, "", name)]
        body["metadata"]["labels"] = {"kubernetes.io/hostname": name}

    def drop_node(self, name: str) -> None:
        for kind in (kinds.NODE, kinds.HYPERVISOR):
            self.api.remove(kind, name)
        self.api.remove(kinds.LEASE, name, "berth-system")

    async def watches_deliver(self) -> None:
        for operation in self.operations:
            await operation.cluster.refresh(self.api)

    async def calm(self, seconds: float, step: float = 2.0) -> None:
        """No more faults; the watches go on, and so does time."""
        self.api.heal()
        for _ in range(int(seconds / step)):
            await self.watches_deliver()
            await asyncio.sleep(step)
        await self.watches_deliver()
