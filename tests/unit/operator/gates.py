"""An API server that holds chosen calls back, so that a test decides what happens while one is on its way."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry
from tests.unit.operator.worlds import SlowApi, World

from berth_api import kinds
from berth_api.kinds import Kind
from berth_operator.metrics import Metrics, new_registry
from berth_operator.operation import Operation
from berth_operator.scheduling.filters import FILTERS
from berth_operator.scheduling.profiles import Profile, build_profiles
from berth_operator.scheduling.snapshot import Snapshot

SECRET = {"userDataSecretRef": {"name": "s", "key": "k"}}


@dataclass
class Gate:
    """Holds one call back, before the server does anything about it."""

    verb: str
    kind: str
    name: str
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    passed: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def reached(self) -> None:
        """Wait until the call is made."""
        async with asyncio.timeout(60):
            await self.arrived.wait()

    def open(self) -> None:
        """Let the call pass."""
        self.passed.set_result(None)

    def cancel(self) -> None:
        """Cancel what the call waits for, and not the task that makes it."""
        self.passed.cancel()


class GatedApi(SlowApi):
    """Gates apply to gets and to applies, each to the next matching call."""

    def __init__(self) -> None:
        super().__init__()
        self._gates: list[Gate] = []

    def hold(self, verb: str, kind: Kind, name: str) -> Gate:
        """Hold the next such call back."""
        gate = Gate(verb, kind.kind, name)
        self._gates.append(gate)
        return gate

    async def _pass(self, verb: str, kind: Kind, name: str) -> None:
        wanted = (verb, kind.kind, name)
        gate = next((gate for gate in self._gates if (gate.verb, gate.kind, gate.name) == wanted), None)
        if gate is not None:
            self._gates.remove(gate)
            gate.arrived.set()
            await gate.passed

    async def get(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any]:
        await self._pass("get", kind, name)
        return await super().get(kind, name, namespace)

    async def apply(self, kind: Kind, name: str, *args: Any, **options: Any) -> dict[str, Any]:
        await self._pass("apply", kind, name)
        return await super().apply(kind, name, *args, **options)


class GatedWorld(World):
    """A furnished world whose calls can be held back, whose nodes stay alive, and whose metrics can be read."""

    api: GatedApi

    def __init__(
        self, *, profiles: Mapping[str, Profile] | None = None, cidr: str = "10.7.0.0/24", **more: Any
    ) -> None:
        self.profiles = profiles or build_profiles(())
        super().__init__(**{"heartbeat_timeout": 1e9, "audit_interval": 1e9, **more})
        self.api = GatedApi()
        self.operation = self.new_operation()
        self.furnish(cidr=cidr)

    def new_operation(self) -> Operation:
        self.registry: CollectorRegistry = new_registry()
        self.metrics = Metrics(self.registry, profiles=self.profiles, filters=[each.name for each in FILTERS])
        return Operation(
            self.api,
            self.settings,
            profiles=self.profiles,
            metrics=self.metrics,
            clock=self.loop.time,
            now=self.now,
            random=Random(1),
        )

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"berth_scheduler_{name}", labels) or 0.0

    @property
    def snapshot(self) -> Snapshot:
        return self.operation._inventory.snapshot()

    async def refresh(self) -> None:
        """The watches deliver everything, and nobody has had time to work on it."""
        await self.operation.cluster.refresh(self.api)

    async def set_field(self, kind: Kind, name: str, path: str, value: Any, namespace: str = "default") -> None:
        await self.api.patch_json(kind, name, namespace, [{"op": "replace", "path": path, "value": value}])

    async def halt(self, name: str) -> None:
        await self.set_field(kinds.VIRTUAL_MACHINE, name, "/spec/runStrategy", "Halted")

    async def delete(self, name: str) -> None:
        await self.api.delete(kinds.VIRTUAL_MACHINE, name, "default")

    def bound(self) -> list[str]:
        """Names of VMs in the order in which they were bound."""
        return [call.name for call in self.status_writes() if call.body["status"].get("claim")]

    def attempts_at(self, name: str) -> int:
        return sum(call.name == name for call in self.status_writes())

    def leftovers(self) -> tuple[int, int]:
        """Claims that count, and VMs in the queue."""
        return len(self.operation.ledger), len(self.operation.scheduler.queue)


def add_secret(world: GatedWorld) -> None:
    """The Secret that SECRET names."""
    data = {"k": b64encode(b"#cloud-config").decode()}
    world.api.add(kinds.SECRET, {"metadata": {"name": "s", "namespace": "default"}, "data": data})


def urgent(world: GatedWorld) -> None:
    """A PriorityClass of this name."""
    world.api.add(kinds.PRIORITY_CLASS, {"metadata": {"name": "urgent"}, "value": 1000})
