"""An API server with Berth's rules in force, and things to attack on it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from tests.integration.api.apiserver import ApiServer
from tests.integration.api.conftest import server
from tests.integration.api.specimens import CHECKSUM, specimen, spoiled
from tests.integration.security import tokens
from tests.integration.security.calls import Answer, Request, apply, open_session, send
from tests.integration.security.controllers import aggregating_roles
from tests.integration.security.roles import TENANT, USERS
from tests.integration.security.rules import CLAIM, GROUP, LEASES, SCHEDULED, VMS
from tests.integration.security.wire import Session

from berth_api import kinds
from berth_api.customresources import CUSTOM_RESOURCES
from berth_api.fields import FINALIZER
from berth_api.kinds import Kind
from berth_dev.processes import poll_until
from berth_operator.controllers.anchorpods import ACCOUNT

__all__ = ["server"]
NODES = ("node-3", "node-4", "node-5")
"""Beside node-1 and node-2, which are there."""
ALLOCATABLE = {"cpu": "4", "memory": "8Gi"}
_WATCHED = (
    *(f"{GROUP}/{resource.kind.plural}" for resource in CUSTOM_RESOURCES),
    *(f"/api/v1/{plural}" for plural in ("nodes", "pods", "secrets", "events")),
    "/apis/coordination.k8s.io/v1/leases",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests",
)
_IN_FORCE_TIMEOUT = 60.0

Fingerprint = Callable[[], Mapping[str, Any]]


@pytest.fixture(scope="session")
def admin(server: ApiServer) -> str:
    """A token with all rights."""
    lines = (server.folder / "tokens.csv").read_text().splitlines()
    return next(line.split(",")[0] for line in lines if line.split(",")[1] == "admin")


@pytest.fixture(scope="session")
def world(server: ApiServer, admin: str) -> Iterator[Fingerprint]:
    """Everything that is attacked; the fixture's value takes its fingerprint."""
    for each in _objects():
        server.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(each))
    for name, status in _statuses().items():
        assert send(server, admin, apply(f"{name}/status", "berth-operator", {"status": status})).status == 200
    server.kubectl("delete", "virtualmachine", "leaving", "--wait=false")
    session = open_session(server, admin)
    deadline = time.monotonic() + _IN_FORCE_TIMEOUT
    # The server's watch cache of a new kind fills while it is asked for the first time.
    while any(session.send(Request("GET", path)).status != 200 for path in _WATCHED):
        assert poll_until(deadline)
    yield lambda: _fingerprint(session)
    session.close()
    server.kubectl("patch", "vm.berth.dev", "leaving", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    for kind in ("vm.berth.dev", "vmimage", "spool", "vnet", "vmclass", "hv"):
        names = server.kubectl("get", kind, "-o", "name").split()
        if names:
            server.kubectl("delete", "--wait=false", *names)


@pytest.fixture(scope="session")
def stolen(server: ApiServer, world: Fingerprint) -> Mapping[str, str]:
    """Tokens by the names that attempts have for them."""
    pod = tokens.request(server.kubectl, "Pod", "agent-1")
    of_pod_gone = tokens.request(server.kubectl, "Pod", "agent-gone")
    server.kubectl("delete", "pod", "agent-gone", "-n", "berth-system", "--force", "--grace-period=0")
    found = {
        **tokens.variations(server.kubectl, pod, "agent-1", server.folder / "sa.key", server.folder),
        "pod": pod,
        "token-of-pod-gone": of_pod_gone,
        "operator": server.kubectl("create", "token", "berth-operator", "-n", "berth-system").strip(),
    }
    # Policies are in force for each object once the server has looked for its kind.
    deadline = time.monotonic() + _IN_FORCE_TIMEOUT
    probe = Request("POST", f"{LEASES}?dryRun=All", {"metadata": {"name": "other"}})
    while send(server, pod, probe).status != 403:
        assert poll_until(deadline)
    return found


@pytest.fixture(scope="session")
def users(server: ApiServer, world: Fingerprint) -> Iterator[Mapping[str, str]]:
    """Tokens of the tenant's users by the cluster role that each has in its namespace, and a namesake's."""
    server.kubectl("create", "namespace", TENANT)
    found = {}
    for name in (*USERS, "berth-agent"):
        server.kubectl("create", "serviceaccount", name, "-n", TENANT)
        if name in USERS:
            account = f"--serviceaccount={TENANT}:{name}"
            server.kubectl("create", "rolebinding", name, f"--clusterrole={name}", account, "-n", TENANT)
        found[name] = server.kubectl("create", "token", name, "-n", TENANT).strip()
    with aggregating_roles(server):
        deadline = time.monotonic() + _IN_FORCE_TIMEOUT
        own = {"metadata": {"name": "own"}, "spec": {"source": {"file": {"path": "a"}}, "checksum": CHECKSUM}}
        image = Request("POST", f"{GROUP}/namespaces/{TENANT}/virtualmachineimages?dryRun=All", own)
        listed = Request("GET", f"{GROUP}/namespaces/{TENANT}/virtualmachineimages")
        while (
            send(server, found["view"], listed).status != 200
            or send(server, found["edit"], image).status != 201
            or send(server, found["admin"], image).status != 201
        ):
            assert poll_until(deadline)
        yield found


@pytest.fixture
def attack(server: ApiServer, stolen: Mapping[str, str]) -> Callable[[Request, str], Answer]:
    """Sends a request with a stolen token."""
    return lambda request, token: send(server, stolen[token], request)


def _objects() -> Iterator[dict[str, Any]]:
    for name in NODES:
        yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1", "labels": {"zone": "a"}}}
    for name in ("agent-1", "agent-gone"):
        spec = {
            "nodeName": "node-1",
            "serviceAccountName": "berth-agent",
            "containers": [{"name": "agent", "image": "berth-agent"}],
        }
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "berth-system"}, "spec": spec}
    yield {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "berth-operator", "namespace": "berth-system"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/component": "operator"}}},
    }
    for name in ("default", ACCOUNT):
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "berth-system"}}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "user-data", "namespace": "default"}}
    for name in ("node-1", "node-2", "berth-operator"):
        yield {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": "berth-system"},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40},
        }
    for name in ("node-1", "node-2"):
        yield _made(kinds.HYPERVISOR, name)
    for name in ("mine", "theirs", "nobodys", "leaving"):
        # As the operator sets it where the server has no policy that does.
        yield spoiled(_made(kinds.VIRTUAL_MACHINE, name), {"metadata.finalizers": [FINALIZER]})
    for kind, name in (
        (kinds.VIRTUAL_MACHINE_IMAGE, "golden"),
        (kinds.STORAGE_POOL, "fast"),
        (kinds.VIRTUAL_NETWORK, "lan"),
        (kinds.VIRTUAL_MACHINE_CLASS, "small"),
    ):
        yield _made(kind, name)


def _made(kind: Kind, name: str) -> dict[str, Any]:
    return {"apiVersion": kind.api_version, "kind": kind.kind, **specimen(kind, name)}


def _statuses() -> dict[str, dict[str, Any]]:
    bound = {"claim": CLAIM, "conditions": [SCHEDULED], "nodeName": "node-1"}
    report = {"capacity": {"cpu": "4", "memory": "8Gi"}, "accelerator": "kvm"}
    return {
        f"{VMS}/mine": bound,
        f"{VMS}/leaving": bound,
        f"{VMS}/theirs": {**bound, "nodeName": "node-2"},
        f"{VMS}/nobodys": {"phase": "Pending"},
        f"{GROUP}/hypervisors/node-1": report,
        f"{GROUP}/hypervisors/node-2": report,
        "/api/v1/nodes/node-1": {"capacity": ALLOCATABLE, "allocatable": ALLOCATABLE},
    }


def _fingerprint(session: Session) -> Mapping[str, Any]:
    """All objects without what any write changes, by path, namespace and name."""
    found = {}
    for path in _WATCHED:
        listed = session.send(Request("GET", path))
        assert listed.status == 200, listed.message
        for item in listed.body["items"]:
            for field in ("resourceVersion", "managedFields"):
                item["metadata"].pop(field, None)
            namespace = item["metadata"].get("namespace", "")
            if namespace != "kube-system":
                found[path, namespace, item["metadata"]["name"]] = item
    return found
