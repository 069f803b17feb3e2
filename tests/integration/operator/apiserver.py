"""A real API server that can be killed and started again, and whose audit log tells who wrote what."""

import json
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml
from tests.integration.api.apiserver import PROJECT, free_ports
from tests.integration.operator.waiting import eventually

from berth_api import kinds
from berth_api.client import ApiClient, ApiError
from berth_api.fields import OPERATOR, SYSTEM_NAMESPACE
from berth_api.kinds import Kind
from berth_dev import controlplane, kubeconfigs
from berth_dev.processes import poll_until

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
POLICIES = {
    kind: Kind(kind, plural, namespaced=False, group="admissionregistration.k8s.io", version="v1")
    for kind, plural in (
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
    )
}
STATIC = PROJECT / "charts" / "berth" / "files"
MORTAL = ("setpriv", "--pdeathsig", "KILL")
"""A process that is started so ends with the tests, however they end. It must be started by the main thread."""
USERS = ("admin", f"system:serviceaccount:{SYSTEM_NAMESPACE}:{OPERATOR}")


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
        kubeconfigs.new_signing_key(folder / "sa.key", folder / "sa.pub")
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
        ca = (self.folder / "certs" / "apiserver.crt").read_bytes()
        text = kubeconfigs.kubeconfig(self.url, ca, token, cluster="test", user="test")
        kubeconfigs.write_secret(path, text)

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
            f"--service-account-key-file={folder / 'sa.pub'}",
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
        ca, port, end = self.folder / "certs" / "apiserver.crt", self.ports[2], time.monotonic() + 60
        while not (
            ca.exists() and controlplane.answers("127.0.0.1", port, "/readyz", ca=ca, token=self.token, tls=True)
        ):
            assert poll_until(end), (self.folder / "kube-apiserver.log").read_text()[-2000:]


async def install(server: Server) -> None:
    """Berth's CRDs, its namespace, the operator's account and the policies on what it writes, as in production."""
    async with await ApiClient.connect(server.kubeconfig, user_agent="test") as api:
        for path in sorted((PROJECT / "crds").glob("*.yaml")):
            for document in yaml.safe_load_all(path.read_text()):
                if document:
                    await api.apply(CRD, document["metadata"]["name"], "", document, field_manager="test")
        await api.apply(NAMESPACE, SYSTEM_NAMESPACE, "", {}, field_manager="test")
        await api.apply(NAMESPACE, "default", "", {}, field_manager="test")
        for path in (STATIC / "rbac-operator.yaml", *sorted((STATIC / "policies").glob("operator-*.yaml"))):
            for document in yaml.safe_load_all(path.read_text()):
                metadata = document["metadata"]
                name, namespace = metadata["name"], metadata.get("namespace", "")
                kind = (RBAC | POLICIES)[document["kind"]]
                await api.apply(kind, name, namespace, document, field_manager="test")
        request = {"apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {}}
        answer = await api.create(TOKEN, request, SYSTEM_NAMESPACE)
        server.write_kubeconfig(server.operator_kubeconfig, answer["status"]["token"])

        async def served() -> bool:
            try:
                for kind in (kinds.VIRTUAL_MACHINE, kinds.HYPERVISOR, kinds.STORAGE_POOL):
                    await api.list(kind)
            except ApiError:
                return False
            return True

        await eventually(served, 20)
