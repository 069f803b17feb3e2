"""API servers with Berth's CRDs, roles and policies in force.

Every test here is run on the newest release of Kubernetes and on the oldest that Berth supports, but for those that say
otherwise.
"""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from tests.integration.api.apiserver import PROJECT, ApiServer, running

from berth_api.client import ApiClient, Invalid, NotFound
from berth_api.fields import FINALIZER
from berth_api.kinds import Kind
from berth_dev.kube import has_mutating_policies, static_manifests
from berth_dev.kubernetesreleases import NEWEST, RELEASES, KubernetesRelease
from berth_dev.processes import poll_until

NODES = ("node-1", "node-2")
_CRDS = PROJECT / "crds"
_STATIC = PROJECT / "charts" / "berth" / "files"
_IN_FORCE_TIMEOUT = 90.0

on_newest = pytest.mark.parametrize("server", [NEWEST], indirect=True, ids=[NEWEST.minor])
"""Of tests of what older servers do not have."""


@pytest.fixture(scope="session", params=RELEASES, ids=lambda release: str(release.minor))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The API server, with everything of Berth's applied; one release after the other."""
    with equipped(tmp_path_factory.mktemp("api"), request.param) as ready:
        yield ready


@contextmanager
def equipped(folder: Path, release: KubernetesRelease) -> Iterator[ApiServer]:
    """An API server of a release, with everything of Berth's applied that it has."""
    with running(folder, release) as ready:
        ready.kubectl("apply", "-f", str(_CRDS))
        ready.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        ready.kubectl("apply", "-f", str(_STATIC / "namespace.yaml"))
        mutating = has_mutating_policies(ready.kubectl)
        manifests = static_manifests(PROJECT, mutating=mutating)
        ready.kubectl("apply", *(argument for path in manifests for argument in ("-f", str(path))))
        for name in NODES:
            ready.kubectl("create", "-f", "-", stdin=_node(name))
        _wait_for_policies(ready, mutating=mutating)
        yield ready


@pytest_asyncio.fixture
async def api(server: ApiServer) -> AsyncIterator[ApiClient]:
    """A client with all rights."""
    async with await ApiClient.connect(server.kubeconfig, user_agent="tests") as client:
        yield client


async def remove(api: ApiClient, kind: Kind, name: str) -> None:
    """Take an object away, finalizers and all, if it is there."""
    namespace = "default" if kind.namespaced else ""
    try:
        await api.delete(kind, name, namespace)
        await api.patch_json(kind, name, namespace, [{"op": "remove", "path": "/metadata/finalizers"}])
    except (NotFound, Invalid):
        return


@asynccontextmanager
async def removed(api: ApiClient, kind: Kind, name: str) -> AsyncIterator[None]:
    """Have no object of the name before and after."""
    await remove(api, kind, name)
    try:
        yield
    finally:
        await remove(api, kind, name)


def agent_token(server: ApiServer, node: str | None) -> str:
    """A token of the agents' service account, bound to a node as a Pod's projected token is."""
    bound = ("--bound-object-kind", "Node", "--bound-object-name", node) if node else ()
    return server.kubectl("create", "token", "berth-agent", "-n", "berth-system", *bound).strip()


def _node(name: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})


def _wait_for_policies(server: ApiServer, *, mutating: bool) -> None:
    """Policies take effect a moment after they are there: try what they refuse or change until they do."""
    probe = json.dumps(
        {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "VirtualMachine",
            "metadata": {"name": "probe", "namespace": "default"},
            "spec": {"className": "small", "disks": [{"name": "root", "size": "1Gi"}]},
        }
    )
    agent = server.write_kubeconfig("probe", agent_token(server, "node-1"))
    hypervisor = json.dumps(
        {"apiVersion": "berth.dev/v1alpha1", "kind": "Hypervisor", "metadata": {"name": "elsewhere"}, "spec": {}}
    )
    deadline = time.monotonic() + _IN_FORCE_TIMEOUT
    make = ("create", "--dry-run=server", "-o", "json", "-f", "-")
    # Admission looks for new kinds every half minute, and until then refuses objects of them.
    made = FINALIZER if mutating else "probe"
    while made not in server.kubectl(*make, stdin=probe, check=False):
        assert poll_until(deadline)
    arguments = ("--kubeconfig", str(agent), "create", "--dry-run=server", "-o", "name", "-f", "-")
    while server.kubectl(*arguments, stdin=hypervisor, check=False):
        assert poll_until(deadline)
