"""Nodes, VMs and a leading operation on the API server in memory, for the tests of this folder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from nacl.encoding import Base64Encoder
from nacl.public import PrivateKey
from tests.fakes.api import FakeApi

from berth_api import kinds
from berth_api.allocatable import Amounts
from berth_api.fields import AGENT, FINALIZER
from berth_api.virtualmachines import ClaimedInterface, VirtualMachine
from berth_operator.leases import Leadership
from berth_operator.metrics import Metrics, new_registry
from berth_operator.operation import Operation
from berth_operator.scheduling.filters import FILTERS
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.nodes import NodeFacts
from berth_operator.scheduling.profiles import build_profiles
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot
from berth_operator.settings import Settings

MIB, GIB = 1024**2, 1024**3
START = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
KEY = PrivateKey(bytes(range(32)))
PUBLIC_KEY = KEY.public_key.encode(Base64Encoder).decode()


def facts(
    name: str, *, cpu: int = 4000, memory: int = 8 * GIB, pools: dict[str, int] | None = None, **more: Any
) -> NodeFacts:
    """A node with 4 cores, 8 GiB and a default pool of 100 GiB, that runs guests under tcg."""
    whole = Amounts(cpu=cpu, memory=memory, pools={"default": 100 * GIB} if pools is None else pools)
    return NodeFacts(name=name, allocatable=whole, **{"accelerator": "tcg", **more})


def request(*, cpu: int = 1000, memory: int = GIB, **more: Any) -> Request:
    return Request(cpu=cpu, memory_kvm=memory, memory_tcg=memory, **more)


def snapshot(*rows: NodeFacts, dead: tuple[str, ...] = (), shared: tuple[str, ...] = ()) -> Snapshot:
    one = Snapshot(shared)
    for row in rows:
        one.upsert(row)
        one.set_ready(row.name, ready=row.name not in dead)
    return one


def holding(
    uid: str, node: str = "node-1", *, claim: str = "", addresses: tuple[str, ...] = (), **more: Any
) -> Holding:
    nic = ClaimedInterface(name="nic", network_name="lan", mac_address=f"02:be:{uid}", ip_addresses=addresses)
    values: dict[str, Any] = {"cpu": 1000, "memory": GIB, "pools": {"default": GIB}, **more}
    return Holding(
        uid=uid, owner=f"default/{uid}", claim_id=claim or f"claim-{uid}", node=node, interfaces=(nic,), **values
    )


def vm_body(name: str, *, finalizers: tuple[str, ...] = (FINALIZER,), **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "finalizers": list(finalizers)},
        "spec": {
            "runStrategy": "Always",
            "cpu": {"cores": 1},
            "memory": {"size": "256Mi"},
            "disks": [
                {"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "tiny"}, "size": "1Gi"}
            ],
            "networks": [{"name": "nic", "networkName": "lan"}],
            **spec,
        },
    }


def hypervisor_status(memory: str = "4Gi", cpu: str = "4", **more: Any) -> dict[str, Any]:
    return {
        "capacity": {"cpu": cpu, "memory": memory},
        "accelerator": "tcg",
        "publicKey": PUBLIC_KEY,
        "storagePools": [{"name": "default", "capacity": "100Gi", "ready": True}],
        "remains": [],
        **more,
    }


class SlowApi(FakeApi):
    """An API server that takes its time over a write, so that decisions overlap."""

    latency = 0.0

    async def apply(self, *args: Any, **options: Any) -> dict[str, Any]:
        await asyncio.sleep(self.latency)
        return await super().apply(*args, **options)


class World:
    """A cluster in memory and the operation that leads it. Time is the event loop's."""

    def __init__(self, **settings: Any) -> None:
        self.api = SlowApi()
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.settings = Settings(identity="test", **settings)
        self.operation = self.new_operation()
        self.leadership = Leadership(epoch=7, until=self.loop.time() + 1e9, clock=self.loop.time)

    def new_operation(self) -> Operation:
        profiles = build_profiles(())
        self.metrics = Metrics(new_registry(), profiles=profiles, filters=[each.name for each in FILTERS])
        return Operation(
            self.api,
            self.settings,
            profiles=profiles,
            metrics=self.metrics,
            clock=self.loop.time,
            now=self.now,
            random=Random(1),
        )

    def now(self) -> datetime:
        return START + timedelta(seconds=self.loop.time() - self.began)

    def furnish(self, *, cidr: str = "10.7.0.0/24") -> None:
        plugin = {"type": "bridge", "capabilities": {"ips": True}}
        network = {
            "cni": {"plugins": [plugin]},
            "subnets": [{"cidr": cidr, "gateway": cidr.replace("0/", "1/").split("/")[0]}],
        }
        image = {"source": {"http": {"url": "http://images.example/tiny"}}, "checksum": DIGEST}
        self.api.add(kinds.VIRTUAL_NETWORK, {"metadata": {"name": "lan"}, "spec": network})
        self.api.add(kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, {"metadata": {"name": "tiny"}, "spec": image})
        self.api.add(kinds.STORAGE_POOL, {"metadata": {"name": "default"}, "spec": {"path": "/pool"}})

    def add_node(self, name: str, **status: Any) -> None:
        renewed = self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.api.add(kinds.NODE, {"metadata": {"name": name, "labels": {}}, "spec": {}})
        lease = {"metadata": {"name": name, "namespace": "berth-system"}, "spec": {"renewTime": renewed}}
        self.api.add(kinds.LEASE, lease)
        hypervisor = {"metadata": {"name": name}, "spec": {}, "status": hypervisor_status(**status)}
        self.api.add(kinds.HYPERVISOR, hypervisor)

    async def beat(self, name: str) -> None:
        """The node's agent renews its Lease."""
        renewed = self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        await self.api.apply(kinds.LEASE, name, "berth-system", {"spec": {"renewTime": renewed}}, field_manager=AGENT)

    def add_vm(self, name: str, **spec: Any) -> None:
        self.api.add(kinds.VIRTUAL_MACHINE, vm_body(name, **spec))

    def vm(self, name: str) -> VirtualMachine:
        return VirtualMachine.from_api(self.api.peek(kinds.VIRTUAL_MACHINE, name, "default"))

    def why(self, name: str) -> tuple[str, str]:
        """Reason and message of the condition Scheduled."""
        condition = self.vm(name).status.condition("Scheduled")
        return (condition.reason, condition.message) if condition else ("", "")

    async def agent(self, name: str, **status: Any) -> None:
        """The bound node's agent writes to the VM's status."""
        await self.api.apply(
            kinds.VIRTUAL_MACHINE, name, "default", {"status": status}, field_manager=AGENT, subresource="status"
        )

    async def settle(self, seconds: float = 2.0) -> None:
        """The watches deliver everything, and the operator has time to work on it."""
        await self.operation.cluster.refresh(self.api)
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        """The operation works, having taken over what there is."""
        task = asyncio.create_task(self.operation.lead(self.leadership))
        await asyncio.sleep(2)
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def status_writes(self, kind: str = "VirtualMachine") -> list[Any]:
        return [call for call in self.api.writes if call.kind == kind and call.subresource == "status"]
