"""A real API server, without kubelets: what a chart's objects are accepted as, not what runs of them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.api.apiserver import PROJECT, ApiServer, running

from berth_dev.caches import cache_root
from berth_dev.kubernetesreleases import NEWEST, RELEASES
from berth_dev.progress import silent
from berth_dev.tools import build_helm

_BERTHS = "app.kubernetes.io/part-of=berth"
_IN_A_NAMESPACE = (
    "deployments,daemonsets,jobs,services,serviceaccounts,configmaps,roles,rolebindings,poddisruptionbudgets"
)
_OBJECTS = "virtualmachines.berth.dev,storagepools.berth.dev,virtualnetworks.berth.dev,hypervisors.berth.dev"
_IN_THE_CLUSTER = (
    "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,"
    "mutatingadmissionpolicies,mutatingadmissionpolicybindings"
)
_NO_FINALIZERS = '{"metadata": {"finalizers": null}}'

Helm = Callable[..., subprocess.CompletedProcess[str]]
Operator = Callable[..., subprocess.CompletedProcess[str]]


on_each_release = pytest.mark.parametrize("fresh", RELEASES, indirect=True, ids=lambda release: str(release.minor))
"""Of tests that are run on the oldest supported release of Kubernetes, too."""


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ApiServer]:
    """An API server of the test's own, without definitions: to take these away takes longer than to start another."""
    with running(tmp_path, getattr(request, "param", NEWEST)) as ready:
        yield ready


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server for all tests that do not mind which definitions it has."""
    with running(tmp_path_factory.mktemp("chart")) as ready:
        ready.kubectl("create", "-f", str(PROJECT / "crds"))
        ready.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        ready.kubectl("create", "namespace", "machines")
        yield ready


@pytest.fixture
def bare(server: ApiServer) -> Iterator[ApiServer]:
    """That API server, with nothing of Berth's but the definitions; what a test leaves there is taken away."""
    yield server
    server.kubectl("delete", _OBJECTS, "-n", "default", "--all", "--wait=false")
    for vm in server.kubectl("get", "virtualmachines.berth.dev", "-n", "default", "-o", "name").split():
        server.kubectl("patch", vm, "-n", "default", "--type=merge", "-p", _NO_FINALIZERS)
    server.kubectl("-n", "machines", "delete", f"{_IN_A_NAMESPACE},leases,secrets", "--all", "--wait=false")
    server.kubectl("delete", _IN_THE_CLUSTER, "--selector", _BERTHS)


@pytest.fixture
def helm(bare: ApiServer) -> Helm:
    """Runs helm as the administrator, in the namespace `machines`."""
    program = build_helm(cache_root(), silent)

    def run(verb: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        argv = [str(program), "--kubeconfig", str(bare.kubeconfig), "--namespace", "machines", verb, *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def operator() -> Operator:
    """Runs a command of `berth-operator`."""

    def run(command: str, kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [str(Path(sys.prefix) / "bin" / "berth-operator"), command, "--kubeconfig", str(kubeconfig), *arguments]
        environment = {"PATH": "/usr/bin:/bin", "BERTH_OPERATOR_NAMESPACE": "machines"}
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=environment)

    return run


def git(*arguments: str) -> str:
    """What git says of the project."""
    done = subprocess.run(
        ["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, f"this test reads the project's history: {done.stderr}"
    return done.stdout
