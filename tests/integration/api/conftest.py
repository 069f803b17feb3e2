"""One API server for all tests of this folder, with Berth's CRDs, roles and policies in force."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from tests.integration.api.apiserver import PROJECT, ApiServer, running

from berth_api.client import ApiClient, Invalid, NotFound
from berth_api.kinds import Kind
from berth_dev.processes import poll_until

NODES = ("node-1", "node-2")
_CRDS = PROJECT / "crds"
_STATIC = PROJECT / "charts" / "berth" / "files"
_IN_FORCE_TIMEOUT = 90.0


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The API server, with everything of Berth's applied."""
    with running(tmp_path_factory.mktemp("api")) as ready:
        ready.kubectl("apply", "-f", str(_CRDS))
        ready.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        ready.kubectl("apply", "-f", str(_STATIC / "namespace.yaml"))
        ready.kubectl("apply", "--recursive", "-f", str(_STATIC))
        for name in NODES:
            ready.kubectl("create", "-f", "-", stdin=_node(name))
        _wait_for_policies(ready)
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


def _wait_for_policies(server: ApiServer) -> None:
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
    while "berth.dev/vm" not in server.kubectl(*make, stdin=probe, check=False):
        assert poll_until(deadline)
    arguments = ("--kubeconfig", str(agent), "create", "--dry-run=server", "-o", "name", "-f", "-")
    while server.kubectl(*arguments, stdin=hypervisor, check=False):
        assert poll_until(deadline)
