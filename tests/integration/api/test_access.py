"""A node agent writes what is its node's, with a token that says so, and nothing else."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.integration.api.apiserver import ApiServer
from tests.integration.api.conftest import agent_token, remove
from tests.integration.api.specimens import specimen

from berth_api import kinds
from berth_api.client import ApiClient, Forbidden, NotFound
from berth_api.events import MAX_REASON
from berth_api.fields import AGENT, OPERATOR, SYSTEM_NAMESPACE

pytestmark = pytest.mark.integration

VM = kinds.VIRTUAL_MACHINE
SCHEDULED = {
    "type": "Scheduled",
    "status": "True",
    "reason": "Bound",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
READY = {**SCHEDULED, "type": "Ready", "reason": "Running"}
CLAIM = {"id": "c1", "epoch": 1, "cpu": "2", "memory": "1100Mi", "storage": "11Gi"}
BINDING = {"nodeName": "node-1", "claim": CLAIM, "conditions": [SCHEDULED]}


@dataclass(frozen=True)
class Agents:
    """Clients with agents' tokens, beside the administrator's."""

    admin: ApiClient
    first: ApiClient
    second: ApiClient
    unbound: ApiClient


Attempt = Callable[[ApiClient], Awaitable[Any]]


@pytest.fixture(scope="session")
def agent_kubeconfigs(server: ApiServer) -> list[Path]:
    """Kubeconfigs of agents of node-1, node-2 and of no node."""
    tokens = {"first": "node-1", "second": "node-2", "unbound": None}
    return [server.write_kubeconfig(name, agent_token(server, node)) for name, node in tokens.items()]


@pytest_asyncio.fixture
async def agents(agent_kubeconfigs: list[Path], api: ApiClient) -> AsyncIterator[Agents]:
    """Agents of node-1, node-2 and of no node; a VM `mine` on node-1, `theirs` on node-2, `nobodys` on none."""
    clients = [await ApiClient.connect(kubeconfig, user_agent="tests") for kubeconfig in agent_kubeconfigs]
    for name, node in (("mine", "node-1"), ("theirs", "node-2"), ("nobodys", None)):
        await _machine(api, name, node)
    try:
        yield Agents(api, *clients)
    finally:
        for client in clients:
            await client.close()
        for name in ("mine", "theirs", "nobodys"):
            await remove(api, VM, name)
        for name in ("node-1", "node-2", "berth-operator"):
            await _forget(api, name)


async def _machine(api: ApiClient, name: str, node: str | None) -> None:
    await remove(api, VM, name)
    await api.create(VM, specimen(VM, name), "default")
    status = {**BINDING, "nodeName": node} if node else {"phase": "Pending"}
    await api.apply(VM, name, "default", {"status": status}, field_manager=OPERATOR, subresource="status")


async def _forget(api: ApiClient, node: str) -> None:
    for kind, namespace in ((kinds.HYPERVISOR, ""), (kinds.LEASE, SYSTEM_NAMESPACE)):
        try:
            await api.delete(kind, node, namespace)
        except NotFound:
            continue


def status(name: str, content: dict[str, Any], manager: str = AGENT, **metadata: Any) -> Attempt:
    """Apply a VM's status."""

    def attempt(client: ApiClient) -> Awaitable[Any]:
        body = {"status": content, **({"metadata": metadata} if metadata else {})}
        return client.apply(VM, name, "default", body, field_manager=manager, subresource="status")

    return attempt


def patch(name: str, *operations: dict[str, Any], subresource: str = "status") -> Attempt:
    """JSON-patch a VM."""
    return lambda client: client.patch_json(VM, name, "default", operations, subresource=subresource)


def hypervisor(name: str, **content: Any) -> Attempt:
    """Create a Hypervisor."""
    metadata = {"name": name, **content.pop("metadata", {})}
    return lambda client: client.create(kinds.HYPERVISOR, {"metadata": metadata, **content})


def hypervisor_status(name: str) -> Attempt:
    """Apply a Hypervisor's status."""
    body = {"status": {"accelerator": "kvm"}}
    return lambda client: client.apply(kinds.HYPERVISOR, name, "", body, field_manager=AGENT, subresource="status")


def lease(name: str, namespace: str = SYSTEM_NAMESPACE) -> Attempt:
    """Create a Lease."""
    body = {"metadata": {"name": name}, "spec": {"holderIdentity": "x", "leaseDurationSeconds": 40}}
    return lambda client: client.create(kinds.LEASE, body, namespace)


def lease_renewal(name: str) -> Attempt:
    """Renew a Lease that is there."""

    async def attempt(client: ApiClient) -> Any:
        current = await client.get(kinds.LEASE, name, SYSTEM_NAMESPACE)
        return await client.update(kinds.LEASE, name, SYSTEM_NAMESPACE, {**current, "spec": {"holderIdentity": "me"}})

    return attempt


def generated(kind: kinds.Kind, namespace: str = "") -> Attempt:
    """Create an object under a name that the server makes up."""
    body = {"metadata": {"generateName": "node-1"}, "spec": {}}
    return lambda client: client.create(kind, body, namespace)


def event(node: str, controller: str = "berth.dev/berth-agent") -> Attempt:
    """Create an Event."""
    body = {
        "metadata": {"generateName": "mine-"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": controller,
        "reportingInstance": node,
        "action": "Starting",
        "reason": "Started",
        "type": "Normal",
        "regarding": {"apiVersion": VM.api_version, "kind": VM.kind, "name": "mine", "namespace": "default"},
    }
    return lambda client: client.create(kinds.EVENT, body, "default")


async def test_an_agent_writes_its_part_beside_the_operators(agents: Agents) -> None:
    answer = {"admittedClaim": "c1", "phase": "Running", "conditions": [READY]}
    for _ in range(2):
        await status("mine", answer)(agents.first)
    stored = await agents.admin.get(VM, "mine", "default")
    assert stored["status"] == {**BINDING, **answer, "conditions": [SCHEDULED, READY]}
    managers = {
        entry["manager"] for entry in stored["metadata"]["managedFields"] if entry.get("subresource") == "status"
    }
    assert managers == {OPERATOR, AGENT}


async def test_the_same_status_again_changes_nothing(agents: Agents) -> None:
    versions = [
        (await status("mine", {"phase": "Running"})(agents.first))["metadata"]["resourceVersion"] for _ in range(2)
    ]
    assert versions[0] == versions[1]


async def test_an_agent_makes_its_hypervisor_lease_and_events(agents: Agents) -> None:
    await hypervisor("node-1", spec={})(agents.first)
    await hypervisor_status("node-1")(agents.first)
    made = await lease("node-1")(agents.first)
    await agents.first.update(kinds.LEASE, "node-1", SYSTEM_NAMESPACE, made)
    await event("node-1")(agents.first)


METADATA: tuple[tuple[str, Attempt], ...] = (
    ("labels", status("mine", {"phase": "Running"}, labels={"a": "b"})),
    ("finalizers", patch("mine", {"op": "replace", "path": "/metadata/finalizers", "value": []})),
    ("annotations", patch("mine", {"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}})),
    ("spec", patch("mine", {"op": "replace", "path": "/spec/cpu/cores", "value": 64})),
)


@pytest.mark.parametrize("attempt", [pytest.param(case[1], id=case[0]) for case in METADATA])
async def test_nothing_but_the_status_changes_by_way_of_the_status(agents: Agents, attempt: Attempt) -> None:
    before = await agents.admin.get(VM, "mine", "default")
    await attempt(agents.first)
    after = await agents.admin.get(VM, "mine", "default")
    assert after["spec"] == before["spec"]
    for field in ("labels", "annotations", "finalizers", "generation"):
        assert after["metadata"].get(field) == before["metadata"].get(field)


@pytest.mark.parametrize(
    "kind",
    [
        kinds.VIRTUAL_MACHINE,
        kinds.VIRTUAL_MACHINE_CLASS,
        kinds.VIRTUAL_MACHINE_IMAGE,
        kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE,
        kinds.VIRTUAL_NETWORK,
        kinds.STORAGE_POOL,
        kinds.HYPERVISOR,
    ],
    ids=lambda kind: kind.plural,
)
async def test_an_agent_reads_what_vms_are_made_of(agents: Agents, kind: kinds.Kind) -> None:
    await agents.first.list(kind)


async def test_an_agent_sees_its_own_machines_by_selector(agents: Agents) -> None:
    found = await agents.first.list(VM, field_selector="status.nodeName=node-1")
    assert [item["metadata"]["name"] for item in found.items] == ["mine"]


async def test_an_agent_counts_the_pods_of_its_node(agents: Agents) -> None:
    await agents.first.list(kinds.POD, field_selector="spec.nodeName=node-1")


FOREIGN = "a node agent may write the status of VMs on its own node only"
NOT_ALLOWED = "cannot"
ATTEMPTS: tuple[tuple[str, Attempt, str], ...] = (
    (
        "another node's VM",
        status("theirs", {"phase": "Running"}),
        f"{FOREIGN}: this one is bound to 'node-2', the agent is of 'node-1'",
    ),
    ("an unbound VM", status("nobodys", {"phase": "Running"}), f"{FOREIGN}: this one is bound to ''"),
    ("stealing a VM", status("theirs", {"nodeName": "node-1"}), FOREIGN),
    ("binding an unbound VM", status("nobodys", {"nodeName": "node-1"}), FOREIGN),
    ("stealing in the operator's name", status("theirs", {**BINDING}, OPERATOR), FOREIGN),
    ("giving a VM away", status("mine", {"nodeName": "node-2"}), "status.nodeName is the operator's"),
    (
        "dropping the binding",
        patch("mine", {"op": "remove", "path": "/status/nodeName"}),
        "status.nodeName is the operator's",
    ),
    (
        "dropping the whole status",
        patch("mine", {"op": "remove", "path": "/status"}),
        "status.nodeName is the operator's",
    ),
    ("changing the claim", status("mine", {"claim": {**CLAIM, "memory": "64Gi"}}), "status.claim is the operator's"),
    ("dropping the claim", patch("mine", {"op": "remove", "path": "/status/claim"}), "status.claim is the operator's"),
    (
        "changing Scheduled",
        status("mine", {"conditions": [{**SCHEDULED, "status": "False"}]}),
        "the condition Scheduled is the operator's",
    ),
    (
        "dropping Scheduled",
        patch("mine", {"op": "remove", "path": "/status/conditions/0"}),
        "the condition Scheduled is the operator's",
    ),
    ("finalizers", patch("mine", {"op": "remove", "path": "/metadata/finalizers"}, subresource=""), NOT_ALLOWED),
    ("the spec", patch("mine", {"op": "replace", "path": "/spec/paused", "value": True}, subresource=""), NOT_ALLOWED),
    ("deleting a VM", lambda client: client.delete(VM, "mine", "default"), NOT_ALLOWED),
    ("creating a VM", lambda client: client.create(VM, specimen(VM, "new"), "default"), NOT_ALLOWED),
    (
        "a Hypervisor for another node",
        hypervisor("node-2", spec={}),
        "may write the Hypervisor of its own node only: this is 'node-2'",
    ),
    ("a Hypervisor for no node", hypervisor("elsewhere", spec={}), "may write the Hypervisor of its own node only"),
    (
        "a Hypervisor with a spec",
        hypervisor("node-1", spec={"overcommit": {"cpu": 64}}),
        "a node agent creates it empty",
    ),
    ("a Hypervisor with labels", hypervisor("node-1", metadata={"labels": {"a": "b"}}, spec={}), "may not set labels"),
    ("another Hypervisor's status", hypervisor_status("node-2"), "may write the Hypervisor of its own node only"),
    (
        "its Hypervisor's spec",
        lambda client: client.patch_json(kinds.HYPERVISOR, "node-1", "", [{"op": "add", "path": "/spec", "value": {}}]),
        NOT_ALLOWED,
    ),
    (
        "another node's Lease",
        lease("node-2"),
        "may write the Lease of its own node only: this is 'node-2', the agent is of 'node-1'",
    ),
    ("the operator's Lease", lease("berth-operator"), "may write the Lease of its own node only"),
    ("renewing another node's Lease", lease_renewal("node-2"), "may write the Lease of its own node only"),
    ("renewing the operator's Lease", lease_renewal("berth-operator"), "may write the Lease of its own node only"),
    ("a Lease by a made-up name", generated(kinds.LEASE, SYSTEM_NAMESPACE), "may write the Lease of its own node only"),
    ("a Hypervisor by a made-up name", generated(kinds.HYPERVISOR), "may write the Hypervisor of its own node only"),
    ("a Lease elsewhere", lease("node-1", "default"), NOT_ALLOWED),
    ("deleting its Lease", lambda client: client.delete(kinds.LEASE, "node-1", SYSTEM_NAMESPACE), NOT_ALLOWED),
    ("an Event of another node", event("node-2"), "reportingInstance 'node-1'"),
    (
        "an Event of the operator",
        event("node-1", "berth.dev/berth-operator"),
        "reportingController 'berth.dev/berth-agent'",
    ),
    ("reading Secrets", lambda client: client.list(kinds.SECRET), NOT_ALLOWED),
    ("reading a Secret", lambda client: client.get(kinds.SECRET, "s", "default"), NOT_ALLOWED),
    (
        "deleting a Pod",
        lambda client: client.delete(kinds.POD, "p", "default"),
        NOT_ALLOWED,
    ),
    (
        "a Node's labels",
        lambda client: client.patch_json(
            kinds.NODE, "node-1", "", [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
        ),
        NOT_ALLOWED,
    ),
    (
        "an image's status",
        lambda client: client.apply(
            kinds.VIRTUAL_MACHINE_IMAGE,
            "a",
            "default",
            {"status": {"phase": "Ready"}},
            field_manager=AGENT,
            subresource="status",
        ),
        NOT_ALLOWED,
    ),
)


@pytest.mark.parametrize(("attempt", "message"), [pytest.param(*case[1:], id=case[0]) for case in ATTEMPTS])
async def test_an_agent_is_kept_from(agents: Agents, attempt: Attempt, message: str) -> None:
    await agents.admin.create(kinds.HYPERVISOR, {"metadata": {"name": "node-2"}, "spec": {}})
    for name in ("node-2", "berth-operator"):
        await lease(name)(agents.admin)
    before = await agents.admin.get(VM, "mine", "default")
    with pytest.raises(Forbidden) as refusal:
        await attempt(agents.first)
    assert message in refusal.value.message
    assert await agents.admin.get(VM, "mine", "default") == before


NAMELESS: tuple[tuple[str, Attempt], ...] = (
    ("a bound VM", status("mine", {"phase": "Running"})),
    ("an unbound VM", status("nobodys", {"phase": "Running"})),
    ("a Hypervisor", hypervisor("node-1", spec={})),
    ("a Hypervisor's status", hypervisor_status("node-2")),
    ("a Lease", lease("node-1")),
    ("an Event", event("node-1")),
)


@pytest.mark.parametrize("attempt", [pytest.param(case[1], id=case[0]) for case in NAMELESS])
async def test_a_token_of_no_node_writes_nothing(agents: Agents, attempt: Attempt) -> None:
    await agents.admin.create(kinds.HYPERVISOR, {"metadata": {"name": "node-2"}, "spec": {}})
    with pytest.raises(Forbidden) as refusal:
        await attempt(agents.unbound)
    assert "this token of a node agent names no node" in refusal.value.message


async def test_a_node_with_a_long_name_reports_events_in_as_much_of_it_as_an_event_takes(
    server: ApiServer, api: ApiClient
) -> None:
    name = ".".join(("n" * 60, "o" * 60, "d" * 60))
    await api.create(kinds.NODE, {"metadata": {"name": name}})
    kubeconfig = server.write_kubeconfig("long", agent_token(server, name))
    client = await ApiClient.connect(kubeconfig, user_agent="tests")
    try:
        stored = await event(name[:MAX_REASON])(client)
        assert stored["reportingInstance"] == name[:MAX_REASON]
        for instance in (name[: MAX_REASON - 1], "node-1"):
            with pytest.raises(Forbidden) as refusal:
                await event(instance)(client)
            assert "reports events with reportingController" in refusal.value.message
    finally:
        await client.close()
        await api.delete(kinds.NODE, name)


async def test_the_right_to_a_vm_goes_with_its_binding(agents: Agents) -> None:
    await status("mine", {**BINDING, "nodeName": "node-2"}, OPERATOR)(agents.admin)
    with pytest.raises(Forbidden):
        await status("mine", {"phase": "Running"})(agents.first)
    await status("mine", {"phase": "Running"})(agents.second)
