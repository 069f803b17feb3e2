"""A real API server with Berth's CRDs, the operator as a real process; nodes are played by the tests."""

import asyncio
import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from nacl.encoding import Base64Encoder
from nacl.public import PrivateKey

from berth_api import kinds
from berth_api.client import ApiClient, ApiError, NotFound
from berth_api.fields import AGENT, FINALIZER, OPERATOR, SYSTEM_NAMESPACE
from berth_api.kinds import Kind
from berth_dev.caches import cache_root
from berth_dev.tools import build_tools

PROJECT = Path(__file__).parents[3]
NAMESPACE = Kind("Namespace", "namespaces", namespaced=False, group="", version="v1")
CRD = Kind(
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
    group="apiextensions.k8s.io",
    version="v1",
)
TOKEN = Kind("TokenRequest", f"serviceaccounts/{OPERATOR}/token", namespaced=True, group="", version="v1")
RBAC = {
    "ServiceAccount": Kind("ServiceAccount", "serviceaccounts", namespaced=True, group="", version="v1"),
    **{
        kind: Kind(
            kind, plural, namespaced=not kind.startswith("Cluster"), group="rbac.authorization.k8s.io", version="v1"
        )
        for kind, plural in (
            ("ClusterRole", "clusterroles"),
            ("ClusterRoleBinding", "clusterrolebindings"),
            ("Role", "roles"),
            ("RoleBinding", "rolebindings"),
        )
    },
}
MORTAL = ("setpriv", "--pdeathsig", "KILL")
"""A process that is started so ends with the tests, however they end. It must be started by the main thread."""
USERS = ("admin", f"system:serviceaccount:{SYSTEM_NAMESPACE}:{OPERATOR}")
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
)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Server:
    """etcd and kube-apiserver on loopback."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.binaries, self.folder, self.token = binaries, folder, secrets.token_hex(16)
        self.ports = free_ports(3)
        self.kubeconfig = folder / "kubeconfig"
        self.operator_kubeconfig = folder / "operator.kubeconfig"
        self.audit = folder / "audit.log"
        self._etcd: subprocess.Popen[bytes] | None = None
        self._apiserver: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.ports[2]}"

    def start(self) -> None:
        folder = self.folder
        (folder / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        subprocess.run(["openssl", "genrsa", "-out", folder / "sa.key", "2048"], check=True, capture_output=True)
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": [{"level": "Metadata", "verbs": ["create", "update", "patch", "delete"]}, {"level": "None"}],
        }
        (folder / "audit.yaml").write_text(yaml.safe_dump(policy))
        etcd, peer, _ = self.ports
        self._etcd = self._spawn(
            "etcd",
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
            "--log-level=error",
        )
        self.start_apiserver()
        self.write_kubeconfig(self.kubeconfig, self.token)

    def write_kubeconfig(self, path: Path, token: str) -> None:
        """A kubeconfig for the holder of a token."""
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "certs" / "apiserver.crt")}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
        }
        path.write_text(yaml.safe_dump(content))

    def start_apiserver(self) -> None:
        folder = self.folder
        self._apiserver = self._spawn(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.ports[0]}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.ports[2]}",
            f"--cert-dir={folder / 'certs'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'sa.key'}",
            f"--service-account-signing-key-file={folder / 'sa.key'}",
            f"--audit-policy-file={folder / 'audit.yaml'}",
            f"--audit-log-path={self.audit}",
            "--disable-admission-plugins=ServiceAccount",
        )
        self._wait_ready()

    def kill_apiserver(self) -> None:
        assert self._apiserver is not None
        self._apiserver.kill()
        self._apiserver.wait(10)

    def stop(self) -> None:
        for process in (self._apiserver, self._etcd):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(10)

    def writes_since(self, offset: int) -> tuple[list[dict[str, Any]], int]:
        """Audited writes after this offset of the log, those of the server itself and heartbeats left out."""
        with self.audit.open("rb") as log:
            log.seek(offset)
            content = log.read()
        events = [json.loads(line) for line in content.splitlines()]
        ours = [event for event in events if event["user"]["username"] in USERS and "leases" not in event["requestURI"]]
        return ours, offset + len(content)

    def _spawn(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen([*MORTAL, self.binaries / program, *arguments], stdout=log, stderr=log)

    def _wait_ready(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        headers = {"Authorization": f"Bearer {self.token}"}
        end = time.monotonic() + 60
        while time.monotonic() < end:
            connection = http.client.HTTPSConnection("127.0.0.1", self.ports[2], timeout=2, context=context)
            try:
                connection.request("GET", "/readyz", headers=headers)
                if connection.getresponse().status == http.client.OK:
                    return
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(0.1)
        raise TimeoutError((self.folder / "kube-apiserver.log").read_text()[-2000:])


async def eventually(probe: Callable[[], Awaitable[Any]], within: float = 10.0) -> Any:
    """The first answer of `probe` that counts as true. An AssertionError of the last try ends the wait."""
    end = time.monotonic() + within
    while True:
        try:
            answer = await probe()
        except (AssertionError, NotFound):
            if time.monotonic() > end:
                raise
            answer = None
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{probe} was not true within {within} s")
        await asyncio.sleep(0.01)


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

    async def leading(self, process: "subprocess.Popen[bytes]", within: float = 20.0) -> None:
        """Wait until the operator has taken over."""
        log = self.folder / f"operator-{self.operators.index(process)}.log"

        async def probe() -> bool:
            return "took over" in log.read_text()

        try:
            await eventually(probe, within)
        except AssertionError:
            pytest.fail(log.read_text())

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
        for item in (await api.list(kind)).items:
            metadata = item["metadata"]
            namespace = metadata.get("namespace", "")
            if namespace.startswith("kube-"):
                continue
            if metadata.get("finalizers"):
                await api.patch_json(
                    kind, metadata["name"], namespace, [{"op": "remove", "path": "/metadata/finalizers"}]
                )
            try:
                await api.delete(kind, metadata["name"], namespace)
            except NotFound:
                continue


async def install(server: Server) -> None:
    """Berth's CRDs, its namespace, and the operator's account with no more rights than in production."""
    async with await ApiClient.connect(server.kubeconfig, user_agent="test") as api:
        for path in sorted((PROJECT / "crds").glob("*.yaml")):
            for document in yaml.safe_load_all(path.read_text()):
                if document:
                    await api.apply(CRD, document["metadata"]["name"], "", document, field_manager="test")
        await api.apply(NAMESPACE, SYSTEM_NAMESPACE, "", {}, field_manager="test")
        await api.apply(NAMESPACE, "default", "", {}, field_manager="test")
        for document in yaml.safe_load_all((PROJECT / "charts" / "berth" / "files" / "rbac-operator.yaml").read_text()):
            metadata = document["metadata"]
            name, namespace = metadata["name"], metadata.get("namespace", "")
            await api.apply(RBAC[document["kind"]], name, namespace, document, field_manager="test")
        request = {"apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {}}
        answer = await api.create(TOKEN, request, SYSTEM_NAMESPACE)
        server.write_kubeconfig(server.operator_kubeconfig, answer["status"]["token"])

        async def served() -> bool:
            try:
                for kind in CLEANED:
                    await api.list(kind)
            except ApiError:
                return False
            return True

        await eventually(served, 20)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    binaries, _ = build_tools(cache_root(), PROJECT, lambda _line: None)
    one = Server(binaries, tmp_path_factory.mktemp("apiserver"))
    try:
        one.start()
        asyncio.run(install(one))
        yield one
    finally:
        one.stop()


@pytest_asyncio.fixture
async def world(server: Server, tmp_path: Path) -> AsyncIterator[World]:
    async with await ApiClient.connect(server.kubeconfig, user_agent="test") as api:
        await clean(api)
        one = World(server, api, tmp_path)
        await one.furnish()
        try:
            yield one
        finally:
            one.kill_all()
