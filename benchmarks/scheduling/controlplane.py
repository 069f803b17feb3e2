"""etcd and an API server on loopback with Berth installed as in production, roles and admission policies included.

There are neither kubelets nor controllers: what is bound stays as it is, and nothing but the two schedulers writes.
The API server is as it comes, but for the taint that a new Node gets until its kubelet reports, and for its limits on
requests at once: neither scheduler meets any.
"""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.scheduling.clients import Client
from benchmarks.scheduling.processes import Child
from berth_api.fields import AGENT, OPERATOR, SYSTEM_NAMESPACE
from berth_dev import controlplane, kube, kubeconfigs
from berth_dev.caches import cache_root
from berth_dev.progress import Say
from berth_dev.startup import project_root
from berth_dev.tools import build_tools

_READY_TIMEOUT = 60.0
_POLL = 0.05


@dataclass
class ControlPlane:
    """A running control plane.

    Attributes:
        folder: Where logs and credentials are, removed at the end.
        programs: Holds kube-apiserver, kube-scheduler and the like.
        client: The administrator's requests.
        etcd: Its process.
        apiserver: Its process.
        operator_kubeconfig: With a token of the operator's service account.
        scheduler_kubeconfig: With kube-scheduler's token.
        tree: Another checkout whose operator is run instead of this one's.
    """

    folder: Path
    programs: Path
    client: Client
    etcd: Child
    apiserver: Child
    operator_kubeconfig: Path
    scheduler_kubeconfig: Path
    tree: Path | None = None
    _starts: int = field(default=0)

    def log(self, name: str) -> Path:
        """A fresh file for a process's output."""
        self._starts += 1
        return self.folder / f"{name}-{self._starts}.log"


def free_ports(count: int) -> list[int]:
    """TCP ports of loopback that nobody listens on just now."""
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in with_ports]
    for one in with_ports:
        one.close()
    return ports


@asynccontextmanager
async def running(folder: Path, tree: Path | None, say: Say) -> AsyncIterator[ControlPlane]:
    """A control plane with Berth installed, ended at the end.

    Raises:
        TimeoutError: It does not become ready.
        EndedError: A part of it has ended.
        DevError: Something cannot be built or installed.
    """
    programs, _ = await asyncio.to_thread(build_tools, cache_root(), project_root(), say)
    users = {user.name: user for user in kubeconfigs.new_users()}
    kubeconfigs.write_secret(folder / "tokens.csv", kubeconfigs.token_file([*users.values()]))
    kubeconfigs.new_signing_key(folder / "sa.key", folder / "sa.pub")
    client_port, peer_port, port = free_ports(3)
    url = f"https://127.0.0.1:{port}"
    say("starting etcd and the API server")
    etcd = Child(_etcd(programs, folder, client_port, peer_port), log=folder / "etcd.log")
    try:
        apiserver = Child(_apiserver(programs, folder, client_port, port), log=folder / "kube-apiserver.log")
        try:
            ca = folder / "certs" / "apiserver.crt"
            await _ready(port, ca, users["admin"].token, (etcd, apiserver))
            for name, user in users.items():
                text = kubeconfigs.kubeconfig(url, ca.read_bytes(), user.token, cluster="benchmark", user=name)
                kubeconfigs.write_secret(folder / f"{name.removeprefix('system:')}.kubeconfig", text)
            kubectl = kube.Kubectl(programs / "kubectl", folder / "admin.kubeconfig", uuid.uuid4().hex)
            operator_kubeconfig = await asyncio.to_thread(_install, kubectl, folder, say)
            async with Client(url, ca, users["admin"].token) as client:
                yield ControlPlane(
                    folder=folder,
                    programs=programs,
                    client=client,
                    etcd=etcd,
                    apiserver=apiserver,
                    operator_kubeconfig=operator_kubeconfig,
                    scheduler_kubeconfig=folder / "kube-scheduler.kubeconfig",
                    tree=tree,
                )
        finally:
            apiserver.stop(grace=2.0)
    finally:
        etcd.stop(grace=2.0)


def _etcd(programs: Path, folder: Path, client: int, peer: int) -> list[str]:
    """As in the development cluster: without syncs to disk, whose speed would be measured otherwise."""
    return [
        str(programs / "etcd"),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
        "--log-level=error",
        "--unsafe-no-fsync",
    ]


def _apiserver(programs: Path, folder: Path, etcd: int, port: int) -> list[str]:
    return [
        str(programs / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certs'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--disable-admission-plugins=TaintNodesByCondition",
        "--endpoint-reconciler-type=none",
        # Its fair queues would turn bursts of kube-scheduler's bindings away (429), and slow it by what it then waits.
        "--enable-priority-and-fairness=false",
        "--max-requests-inflight=0",
        "--max-mutating-requests-inflight=0",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'sa.pub'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
    ]


async def _ready(port: int, ca: Path, token: str, children: tuple[Child, ...]) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT

    def is_ready() -> bool:
        return ca.exists() and controlplane.answers("127.0.0.1", port, "/readyz", ca=ca, token=token, tls=True)

    while not await asyncio.to_thread(is_ready):
        for child in children:
            child.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the API server is not ready after {_READY_TIMEOUT:g} s: see {children[-1].log}")
        await asyncio.sleep(_POLL)


def _install(kubectl: kube.Kubectl, folder: Path, say: Say) -> Path:
    """CRDs, roles and policies, all in force; returns the operator's kubeconfig."""
    say("installing Berth; waiting until its policies are in force")
    kube.apply_manifests(kubectl, project_root())
    kube.wait_in_force(kubectl, f"system:serviceaccount:{SYSTEM_NAMESPACE}:{AGENT}")
    token = kubectl("create", "token", OPERATOR, "-n", SYSTEM_NAMESPACE, "--duration", "24h").strip()
    path = folder / "operator.kubeconfig"
    kubeconfigs.write_secret(path, kubectl.kubeconfig_for(OPERATOR, token))
    return path
