"""The one controller that users' roles need: it adds up what view, edit and admin are."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.integration.api.apiserver import ApiServer, free_ports

from berth_dev.processes import spawn

_GRACE = 5.0


@contextmanager
def aggregating_roles(server: ApiServer) -> Iterator[None]:
    """Run kube-controller-manager with its ClusterRole aggregation, and nothing else of it."""
    (port,) = free_ports(1)
    argv = [
        str(server.binaries / "kube-controller-manager"),
        f"--kubeconfig={server.kubeconfig}",
        "--controllers=clusterrole-aggregation-controller",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={server.folder / 'controllers'}",
    ]
    process = spawn(argv, env={"PATH": "/usr/bin"}, log=server.folder / "kube-controller-manager.log")
    try:
        yield
    finally:
        process.end(_GRACE)
