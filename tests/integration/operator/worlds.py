"""A clean cluster on the real API server: nodes are played by the tests, operators are real processes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nacl.encoding import Base64Encoder
from nacl.public import PrivateKey
from tests.integration.operator.apiserver import MORTAL, Server
from tests.integration.operator.waiting import eventually, side_by_side

from berth_api import kinds
from berth_api.client import ApiClient, NotFound
from berth_api.fields import AGENT, FINALIZER, SYSTEM_NAMESPACE
from berth_api.kinds import Kind
from berth_dev import kubeconfigs

DIGEST = "sha256:" + "a" * 64
CLEANED = (
    kinds.VIRTUAL_MACHINE,
    kinds.VIRTUAL_MACHINE_CLASS,
    kinds.VIRTUAL_MACHINE_IMAGE,
    kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE,
    kinds.VIRTUAL_NETWORK,
    kinds.STORAGE_POOL,
    kinds.HYPERVISOR,
    kinds.NODE,
    kinds.EVENT,
    kinds.SECRET,
    kinds.LEASE,
    kinds.PRIORITY_CLASS,
    kinds.POD_DISRUPTION_BUDGET,
)


def vm_body(name: str, **spec: Any) -> dict[str, Any]:
    """A VM that fits the world of these tests."""
    return {
        "metadata": {"name": name, "namespace": "default", "finalizers": [FINALIZER]},
        "spec": {
            "cpu": {"cores": 1},
            "memory": {"size": "256Mi"},
            "disks": [
                {"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "tiny"}, "size": "1Gi"}
            ],
            "networks": [{"name": "nic", "networkName": "lan"}],
            **spec,
        },
    }


@dataclass
class World:
    """A clean cluster, what belongs into it, and its operators."""

    server: Server
    api: ApiClient
    folder: Path
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    operators: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    async def furnish(self) -> None:
        """A network of 253 addresses less two, an image, a pool, a class."""
        plugin = {"type": "bridge", "capabilities": {"ips": True}, "ipam": {"type": "static"}}
        await self.api.create(
            kinds.VIRTUAL_NETWORK,
            {
                "metadata": {"name": "lan"},
                "spec": {"cni": {"plugins": [plugin]}, "subnets": [{"cidr": "10.7.0.0/24", "gateway": "10.7.0.1"}]},
            },
        )
        image = {"source": {"http": {"url": "http://images.example/tiny.qcow2"}}, "checksum": DIGEST}
        await self.api.create(kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, {"metadata": {"name": "tiny"}, "spec": image})
        await self.api.create(
            kinds.STORAGE_POOL, {"metadata": {"name": "default"}, "spec": {"path": "/var/lib/berth/pools/default"}}
        )

    async def add_node(
        self, name: str, *, memory: str = "4Gi", cpu: str = "4", labels: dict[str, str] | None = None
    ) -> None:
        """A node with its Hypervisor and a fresh heartbeat."""
        key = self.keys[name] = PrivateKey.generate()
        await self.api.create(kinds.NODE, {"metadata": {"name": name, "labels": labels or {}}})
        node = await self.api.get(kinds.NODE, name)
        if node["spec"].get("taints"):
            await self.api.patch_json(kinds.NODE, name, "", [{"op": "remove", "path": "/spec/taints"}])
        await self.api.create(kinds.HYPERVISOR, {"metadata": {"name": name}, "spec": {}})
        await self.beat(name)
        status = {
            "capacity": {"cpu": cpu, "memory": memory},
            "accelerator": "tcg",
            "cpuModels": ["Haswell"],
            "publicKey": key.public_key.encode(Base64Encoder).decode(),
            "storagePools": [{"name": "default", "capacity": "100Gi", "ready": True}],
        }
        await self.api.apply(kinds.HYPERVISOR, name, "", {"status": status}, field_manager=AGENT, subresource="status")

    async def beat(self, name: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
        await self.api.apply(kinds.LEASE, name, SYSTEM_NAMESPACE, {"spec": spec}, field_manager=AGENT)

    async def vm(self, name: str) -> dict[str, Any]:
        return await self.api.get(kinds.VIRTUAL_MACHINE, name, "default")

    async def create_vm(self, name: str, **spec: Any) -> dict[str, Any]:
        return await self.api.create(kinds.VIRTUAL_MACHINE, vm_body(name, **spec), "default")

    async def bound(self, name: str, within: float = 10.0) -> dict[str, Any]:
        async def probe() -> dict[str, Any] | None:
            vm = await self.vm(name)
            return vm if vm.get("status", {}).get("nodeName") else None

        return await eventually(probe, within)  # type: ignore[no-any-return]

    async def reason(self, name: str, reason: str, within: float = 10.0) -> dict[str, Any]:
        """The VM, once its condition Scheduled gives this reason."""

        async def probe() -> dict[str, Any]:
            vm = await self.vm(name)
            assert scheduled(vm).get("reason") == reason, vm.get("status")
            return vm

        return await eventually(probe, within)  # type: ignore[no-any-return]

    async def answer(self, name: str, **status: Any) -> dict[str, Any]:
        """What the bound node's agent says."""
        return await self.api.apply(
            kinds.VIRTUAL_MACHINE, name, "default", {"status": status}, field_manager=AGENT, subresource="status"
        )

    def operate(self, **settings: str) -> "subprocess.Popen[bytes]":
        """Start an operator."""
        environment = {
            "PATH": os.environ["PATH"],
            "BERTH_OPERATOR_KUBECONFIG": str(self.server.operator_kubeconfig),
            "BERTH_OPERATOR_LEASE_DURATION": "3",
            "BERTH_OPERATOR_LEASE_RENEW_DEADLINE": "2",
            "BERTH_OPERATOR_LEASE_RETRY": "0.5",
            "BERTH_OPERATOR_SECRET_POLL": "0.5",
            "BERTH_OPERATOR_LOG_FORMAT": "text",
            **{f"BERTH_OPERATOR_{key.upper()}": value for key, value in settings.items()},
        }
        with (self.folder / f"operator-{len(self.operators)}.log").open("wb") as log:
            process = subprocess.Popen(
                [*MORTAL, sys.executable, "-m", "berth_operator"], env=environment, stdout=log, stderr=log
            )
        self.operators.append(process)
        return process

    @asynccontextmanager
    async def operator(self, **settings: str) -> "AsyncIterator[subprocess.Popen[bytes]]":
        """An operator that leads, stopped at the end."""
        process = self.operate(**settings)
        await self.leading(process)
        yield process
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 15) == 0

    def through(self, port: int) -> Path:
        """The operator's kubeconfig, for another way to the API server: a port of this machine that leads there."""
        path = self.folder / f"through-{port}.kubeconfig"
        text = self.server.operator_kubeconfig.read_text().replace(self.server.url, f"https://127.0.0.1:{port}")
        kubeconfigs.write_secret(path, text)
        return path

    def log(self, process: "subprocess.Popen[bytes]") -> str:
        """What an operator has said so far."""
        return (self.folder / f"operator-{self.operators.index(process)}.log").read_text()

    async def leading(self, process: "subprocess.Popen[bytes]", within: float = 60.0) -> None:
        """Wait until the operator has taken over."""

        async def probe() -> bool:
            return process.poll() is not None or "took over" in self.log(process)

        try:
            await eventually(probe, within)
        except AssertionError:
            pytest.fail(self.log(process))
        assert process.poll() is None, self.log(process)

    def kill_all(self) -> None:
        for process in self.operators:
            if process.poll() is None:
                process.kill()
                process.wait(10)


def scheduled(vm: dict[str, Any]) -> dict[str, Any]:
    """The condition Scheduled."""
    conditions = vm.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == "Scheduled"), {})


async def clean(api: ApiClient) -> None:
    """Remove everything that a test may have made."""
    for kind in CLEANED:
        await side_by_side(_remove(api, kind, item["metadata"]) for item in (await api.list(kind)).items)


async def _remove(api: ApiClient, kind: Kind, metadata: dict[str, Any]) -> None:
    name, namespace = metadata["name"], metadata.get("namespace", "")
    if namespace.startswith("kube-") or name.startswith("system-"):
        return
    try:
        if metadata.get("finalizers"):
            await api.patch_json(kind, name, namespace, [{"op": "remove", "path": "/metadata/finalizers"}])
        await api.delete(kind, name, namespace)
    except NotFound:
        return
