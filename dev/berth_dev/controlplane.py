"""The control plane's programs and their flags.

The API server listens on the underlay, where nodes reach it. All else listens on the cluster's own loopback address,
where neither nodes nor guests get to it. Where there are no kubelets, the controllers that watch for their heartbeats
are off: they would declare every node lost.
"""

import http.client
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from berth_dev import imageserver, kubeconfigs, linkserver
from berth_dev.addresses import AddressPlan
from berth_dev.images import CHECKSUMS
from berth_dev.parts import Program
from berth_dev.states import Run

API_PORT = 6443
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
KUBELET_CLIENT = "kubelet-client"
"""Names the certificate that the API server shows to kubelets."""
_PROBE_TIMEOUT = 2.0


def server_url(plan: AddressPlan) -> str:
    """Where the API server is, for nodes and the host alike."""
    return f"https://{plan.control_plane}:{API_PORT}"


def link_url(plan: AddressPlan, port: int) -> str:
    """Where a link to the API server is: on its own address, which its certificate names."""
    return f"https://{plan.control_plane}:{port}"


def link_ports(run: Run) -> Mapping[str, int]:
    """Which port each part's link has, by the part's name: the operator's first, then the agents'."""
    nodes = range(1, run.options.nodes + 1)
    agents = {f"node-{number}.agent": linkserver.OPERATOR_PORT + number for number in nodes}
    return {"operator": linkserver.OPERATOR_PORT, **agents} if run.options.links else {}


def answers(url_host: str, port: int, path: str, *, ca: Path | None = None, token: str = "", tls: bool = False) -> bool:
    """Whether a GET is answered with 200.

    Args:
        url_host: Host or address.
        port: TCP port.
        path: With its leading slash.
        ca: The certificate to trust; without it and with `tls`, any (a self-signed one on our own loopback address).
        token: A bearer token.
        tls: Whether to speak HTTPS.
    """
    connection: http.client.HTTPConnection
    try:
        if tls:
            context = ssl.create_default_context(cafile=None if ca is None else str(ca))
            if ca is None:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            connection = http.client.HTTPSConnection(url_host, port, timeout=_PROBE_TIMEOUT, context=context)
        else:
            connection = http.client.HTTPConnection(url_host, port, timeout=_PROBE_TIMEOUT)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            return connection.getresponse().status == http.client.OK
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False


def write_credentials(folder: Path, nodes: Sequence[str] = ()) -> None:
    """Make the token file, the signing key and the client's certificate in the control plane's folder.

    Args:
        folder: The control plane's.
        nodes: Names of the nodes that have a kubelet.
    """
    kubeconfigs.write_secret(folder / "tokens.csv", kubeconfigs.token_file(kubeconfigs.new_users(nodes)))
    kubeconfigs.new_signing_key(folder / "sa.key", folder / "sa.pub")
    kubeconfigs.new_client_certificate(KUBELET_CLIENT, "system:masters", folder)


def write_kubeconfigs(run: Run, folder: Path) -> None:
    """Write the administrator's kubeconfig and those of the other parts, once the server has its certificate."""
    ca = (folder / "certs" / "apiserver.crt").read_bytes()
    for user in kubeconfigs.parse_token_file((folder / "tokens.csv").read_text(encoding="utf-8")):
        text = kubeconfigs.kubeconfig(server_url(run.plan), ca, user.token, cluster=run.cluster, user=user.name)
        target = run.kubeconfig if user.name == "admin" else folder / f"{user.name.removeprefix('system:')}.kubeconfig"
        kubeconfigs.write_secret(target, text)


def programs(run: Run, bin_folder: Path, folder: Path) -> Mapping[str, Program]:
    """Every program of the control plane, by name.

    Args:
        run: The cluster's run.
        bin_folder: Holds the programs.
        folder: Where they keep their state.
    """
    made = [_etcd(run, bin_folder, folder), _apiserver(run, bin_folder, folder), _controllers(run, bin_folder, folder)]
    if run.options.scheduler or run.options.kubelets:
        made.append(_scheduler(run, bin_folder, folder))
    return {program.name: program for program in made}


def _etcd(run: Run, bin_folder: Path, folder: Path) -> Program:
    loopback = run.plan.loopback
    client, peer = f"http://{loopback}:{ETCD_PORT}", f"http://{loopback}:{ETCD_PEER_PORT}"
    argv = [
        str(bin_folder / "etcd"),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
    ]
    if not run.options.durable_etcd:
        argv.append("--unsafe-no-fsync")
    return Program("etcd", argv, is_ready=lambda: answers(str(loopback), ETCD_PORT, "/health"))


def _apiserver(run: Run, bin_folder: Path, folder: Path) -> Program:
    plan, certificate = run.plan, folder / "certs" / "apiserver.crt"
    argv = [
        str(bin_folder / "kube-apiserver"),
        f"--etcd-servers=http://{plan.loopback}:{ETCD_PORT}",
        f"--bind-address={plan.control_plane}",
        f"--advertise-address={plan.control_plane}",
        f"--secure-port={API_PORT}",
        f"--cert-dir={certificate.parent}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={plan.service_subnet}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'sa.pub'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={folder / KUBELET_CLIENT}.crt",
        f"--kubelet-client-key={folder / KUBELET_CLIENT}.key",
    ]

    def is_ready() -> bool:
        if not certificate.exists():
            return False
        token = (folder / "tokens.csv").read_text(encoding="utf-8").partition(",")[0]
        return answers(str(plan.control_plane), API_PORT, "/readyz", ca=certificate, token=token, tls=True)

    return Program("kube-apiserver", argv, is_ready=is_ready)


def _controllers(run: Run, bin_folder: Path, folder: Path) -> Program:
    loopback = str(run.plan.loopback)
    argv = [
        str(bin_folder / "kube-controller-manager"),
        f"--kubeconfig={folder / 'kube-controller-manager.kubeconfig'}",
        f"--bind-address={loopback}",
        f"--controllers={'*' if run.options.kubelets else '*,-node-lifecycle-controller,-taint-eviction-controller'}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={folder / 'sa.key'}",
        f"--root-ca-file={folder / 'certs' / 'apiserver.crt'}",
        "--leader-elect=false",
    ]
    return Program(
        "kube-controller-manager",
        argv,
        is_ready=lambda: answers(loopback, CONTROLLER_MANAGER_PORT, "/healthz", tls=True),
    )


def _scheduler(run: Run, bin_folder: Path, folder: Path) -> Program:
    loopback = str(run.plan.loopback)
    argv = [
        str(bin_folder / "kube-scheduler"),
        f"--kubeconfig={folder / 'kube-scheduler.kubeconfig'}",
        f"--bind-address={loopback}",
        "--leader-elect=false",
    ]
    return Program("kube-scheduler", argv, is_ready=lambda: answers(loopback, SCHEDULER_PORT, "/healthz", tls=True))


def image_server(run: Run) -> Program:
    """How the guest images are served, on an address of the underlay that nothing else uses."""
    address = str(run.plan.image_server)
    argv = [sys.executable, "-m", "berth_dev.imageserver", address, str(run.artifacts.images)]
    return Program("image-server", argv, is_ready=lambda: answers(address, imageserver.PORT, f"/{CHECKSUMS}"))


def link_server(run: Run) -> Program:
    """How the links to the API server are kept: beside it, and between it and Berth's parts."""
    control = run.plan.loopback
    argv = [sys.executable, "-m", "berth_dev.linkserver", str(run.plan.control_plane), str(API_PORT)]
    argv += [str(control), str(linkserver.CONTROL_PORT)]
    argv += [f"{name}={port}" for name, port in link_ports(run).items()]
    return Program("links", argv, is_ready=lambda: linkserver.is_listening(control))
