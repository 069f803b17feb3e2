"""A real etcd and API server on loopback, for tests that need nothing else of a cluster."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from berth_dev import controlplane, kubeconfigs
from berth_dev.caches import cache_root
from berth_dev.kubernetesreleases import NEWEST, KubernetesRelease
from berth_dev.processes import poll_until, spawn
from berth_dev.progress import silent
from berth_dev.tools import build_tools

PROJECT = Path(__file__).parents[3]
_READY_TIMEOUT = 60.0
_GRACE = 5.0


@dataclass(frozen=True)
class ApiServer:
    """A running API server.

    Attributes:
        url: Where it listens.
        kubeconfig: Of its administrator.
        certificate: What its clients trust.
        folder: Where tests may write.
        release: Of Kubernetes.
        binaries: Holds the programs of that release.
    """

    url: str
    kubeconfig: Path
    certificate: Path
    folder: Path
    release: KubernetesRelease
    binaries: Path

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """Run kubectl as the administrator; its standard output (with `check`, only where it succeeded)."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def write_kubeconfig(self, name: str, token: str) -> Path:
        """A kubeconfig for whoever has the token."""
        path = self.folder / f"{name}.kubeconfig"
        text = kubeconfigs.kubeconfig(self.url, self.certificate.read_bytes(), token, cluster="test", user=name)
        kubeconfigs.write_secret(path, text)
        return path


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def running(folder: Path, release: KubernetesRelease = NEWEST) -> Iterator[ApiServer]:
    """Start both, wait until they are ready, and end them in the end. Berth's CRDs are not there yet."""
    binaries, _ = build_tools(cache_root(), PROJECT, silent, kubernetes=release)
    client, peer, secure = free_ports(3)
    certificate = folder / "certs" / "apiserver.crt"
    users = kubeconfigs.new_users()
    kubeconfigs.write_secret(folder / "tokens.csv", kubeconfigs.token_file(users))
    kubeconfigs.new_signing_key(folder / "sa.key", folder / "sa.pub")
    admin = next(user for user in users if user.name == "admin")
    with ExitStack() as stack:
        for name, argv in (
            ("etcd", _etcd(folder, client, peer)),
            ("kube-apiserver", _apiserver(folder, certificate, client, secure)),
        ):
            process = spawn([str(binaries / name), *argv], env={"PATH": "/usr/bin"}, log=folder / f"{name}.log")
            stack.callback(process.end, _GRACE)
        deadline = time.monotonic() + _READY_TIMEOUT
        while not (
            certificate.exists()
            and controlplane.answers("127.0.0.1", secure, "/readyz", ca=certificate, token=admin.token, tls=True)
        ):
            assert poll_until(deadline), (folder / "kube-apiserver.log").read_text()[-4000:]
        url = f"https://127.0.0.1:{secure}"
        server = ApiServer(url, folder / "admin.kubeconfig", certificate, folder, release, binaries)
        server.write_kubeconfig("admin", admin.token)
        yield server


def _etcd(folder: Path, client: int, peer: int) -> list[str]:
    client_url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _apiserver(folder: Path, certificate: Path, etcd: int, secure: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--secure-port={secure}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--cert-dir={certificate.parent}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-cluster-ip-range=10.255.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'sa.pub'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--allow-privileged=true",
    ]
