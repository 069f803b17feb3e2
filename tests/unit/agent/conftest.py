"""A node whose hypervisor, network and API server are kept in memory; images, disks and seeds are real files."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from tests.fakes.api import FakeApi
from tests.fakes.attachments import FakeAttachments
from tests.fakes.hypervisor import CAPABILITIES, FakeHypervisor

from berth_agent.cluster_view import ClusterView
from berth_agent.node.consoles import Consoles
from berth_agent.node.facts import NodeFacts
from berth_agent.node.keys import NodeKey
from berth_agent.node.origins import Origins
from berth_agent.node.storage_pools import NodePools
from berth_agent.reconcile.admissions import Admissions
from berth_agent.reconcile.epochs import Epochs
from berth_agent.reconcile.holds import Holds
from berth_agent.reconcile.reconciler import Reconciler
from berth_agent.reconcile.rounds import Owner, Tools
from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.disks import Disks
from berth_agent.storage.image_cache import ImageCache
from berth_agent.storage.seeds import Seeds
from berth_api.kinds import STORAGE_POOL, VIRTUAL_MACHINE, VIRTUAL_NETWORK, Kind

NODE = "node-1"


@dataclass
class AgentWorld:
    """One node, one VM's worth of everything."""

    directory: Path
    api: FakeApi = field(default_factory=FakeApi)
    hypervisor: FakeHypervisor = field(init=False)
    attachments: FakeAttachments = field(default_factory=FakeAttachments)
    uid: str = field(default_factory=lambda: str(uuid4()))
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    boot_id: str = "boot-0"
    cluster: str = "cluster-1"

    def __post_init__(self) -> None:
        self.hypervisor = FakeHypervisor(now=lambda: self.now)
        self.pools = NodePools(self.hypervisor)
        self.tools = self.new_tools()
        self.reconciler = self.new_reconciler()

    def new_tools(self) -> Tools:
        """What a newly started agent has: nothing in memory."""
        consoles = Consoles(self.directory / "consoles")
        consoles.prepare()
        return Tools(
            node_name=NODE,
            api=self.api,
            view=ClusterView(),
            facts=NodeFacts(CAPABILITIES, self.pools),
            hypervisor=self.hypervisor,
            attachments=self.attachments,
            images=ImageCache(self.directory / "images", destinations=DestinationPolicy.of(), clock=self.clock),
            disks=Disks(self.pools),
            seeds=Seeds(self.directory / "seeds"),
            consoles=consoles,
            key=NodeKey.load_or_create(self.directory / "node.key"),
            admissions=Admissions(),
            epochs=Epochs(self.api, "berth-system"),
            boot_id=self.boot_id,
            origins=Origins(self.directory / "origins", self.cluster),
        )

    def clock(self) -> float:
        return self.now.timestamp()

    def new_reconciler(self) -> Reconciler:
        return Reconciler(self.tools, Holds(self.clock, Random(1)), now=lambda: self.now)

    async def restart(self) -> None:
        """Kill the agent and start another: it lists everything and knows nothing else."""
        self.tools = self.new_tools()
        self.reconciler = self.new_reconciler()
        await self.load()
        self.tools.admissions.load(self.tools.view.vms())

    async def load(self) -> None:
        for kind in (STORAGE_POOL, VIRTUAL_NETWORK):
            for body in (await self.api.list(kind)).items:
                self.tools.view.put(kind, body)
        for body in (await self.api.list(VIRTUAL_MACHINE, field_selector=f"status.nodeName={NODE}")).items:
            self.tools.view.put(VIRTUAL_MACHINE, body)
        await self.pools.refresh(self.tools.view.pools())

    def add(self, kind: Kind, body: dict[str, Any]) -> None:
        self.api.add(kind, body)

    @property
    def owner(self) -> Owner:
        return Owner("default", "web", self.uid)

    @property
    def vm(self) -> dict[str, Any] | None:
        return self.api.peek(VIRTUAL_MACHINE, "web", "default")

    @property
    def status(self) -> dict[str, Any]:
        assert self.vm is not None
        status: dict[str, Any] = self.vm["status"]
        return status

    async def reconcile(self) -> float | None:
        await self.load()
        return await self.reconciler.reconcile(self.owner)

    async def settle(self, rounds: int = 6) -> None:
        """Reconcile until nothing is left to do, letting time pass between the rounds."""
        for _ in range(rounds):
            await self.reconcile()
            self.now += timedelta(seconds=10)

    async def traces(self) -> dict[str, Any]:
        """Everything that a VM leaves on a node."""
        return {
            "domains": [state.owner.uid for state in await self.hypervisor.domains()],
            "attachments": list(self.attachments.here),
            "disks": dict(await self.tools.disks.observe()),
            "seeds": await self.tools.seeds.seeds(),
        }


def vm_body(uid: str, **spec: Any) -> dict[str, Any]:
    claim = {
        "id": "claim-1",
        "epoch": 0,
        "cpu": "1",
        "memory": "1Gi",
        "storage": "64Mi",
        "pools": [{"name": "default", "size": "64Mi"}],
        "interfaces": [
            {
                "name": "lan",
                "networkName": "default",
                "macAddress": "02:be:00:00:00:01",
                "ipAddresses": ["10.1.1.5/24"],
            }
        ],
    }
    return {
        "metadata": {
            "name": "web",
            "namespace": "default",
            "uid": uid,
            "generation": 1,
            "finalizers": ["berth.dev/vm"],
        },
        "spec": {
            "cpu": {"cores": 1},
            "memory": {"size": "512Mi"},
            "disks": [{"name": "root", "size": "64Mi"}],
            "networks": [{"name": "lan", "networkName": "default"}],
            "terminationGracePeriodSeconds": 30,
            **spec,
        },
        "status": {"nodeName": NODE, "claim": claim, "phase": "Scheduled"},
    }


@pytest.fixture
def node(tmp_path: Path) -> AgentWorld:
    """A node with a pool and a network, and a VM that is bound to it."""
    made = AgentWorld(tmp_path)
    made.add(STORAGE_POOL, {"metadata": {"name": "default"}, "spec": {"path": str(tmp_path / "pool")}})
    (tmp_path / "pool").mkdir()
    made.add(
        VIRTUAL_NETWORK,
        {
            "metadata": {"name": "default"},
            "spec": {
                "cni": {"plugins": [{"type": "bridge", "capabilities": {"ips": True, "mac": True}}]},
                "subnets": [{"cidr": "10.1.1.0/24", "gateway": "10.1.1.1"}],
            },
        },
    )
    made.add(VIRTUAL_MACHINE, vm_body(made.uid))
    return made
