"""Only the operator that leads binds: a claim of an older epoch than its Lease's is refused, whoever writes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from tests.integration.api.apiserver import ApiServer
from tests.integration.api.conftest import agent_token, remove
from tests.integration.api.specimens import specimen

from berth_api import kinds
from berth_api.client import ApiClient, Forbidden, NotFound
from berth_api.fields import AGENT, OPERATOR, OPERATOR_LEASE, SYSTEM_NAMESPACE

pytestmark = pytest.mark.integration

VM = kinds.VIRTUAL_MACHINE
LATE = "this claim was decided in epoch 4, and an operator of epoch 5 leads by now: a former leader may not bind"
_IN_FORCE = 30.0


@pytest_asyncio.fixture
async def operator(server: ApiServer) -> AsyncIterator[ApiClient]:
    """A client with no more rights than the operator has."""
    token = server.kubectl("create", "token", OPERATOR, "-n", SYSTEM_NAMESPACE).strip()
    async with await ApiClient.connect(server.write_kubeconfig(OPERATOR, token), user_agent="tests") as client:
        yield client


@pytest_asyncio.fixture
async def vm(api: ApiClient) -> AsyncIterator[str]:
    """The name of a VM that nobody has bound."""
    await remove(api, VM, "bound")
    await api.create(VM, specimen(VM, "bound"), "default")
    yield "bound"
    await remove(api, VM, "bound")


def claim(epoch: int, name: str = "c1") -> dict[str, Any]:
    return {"id": name, "epoch": epoch, "cpu": "2", "memory": "1100Mi", "storage": "11Gi"}


async def bind(client: ApiClient, vm: str, epoch: int, name: str = "c1", **more: Any) -> dict[str, Any]:
    """Apply what an operator of this epoch applies when it binds."""
    status = {"nodeName": "node-1", "claim": claim(epoch, name), **more}
    return await client.apply(VM, vm, "default", {"status": status}, field_manager=OPERATOR, subresource="status")


@asynccontextmanager
async def led(api: ApiClient, spec: dict[str, Any] | None, probe: ApiClient) -> AsyncIterator[None]:
    """The operator's Lease says this, and the server acts on it; in the end there is none again."""
    await _no_lease(api)
    if spec is not None:
        body = {"metadata": {"name": OPERATOR_LEASE}, "spec": {"holderIdentity": "op-1", **spec}}
        await api.create(kinds.LEASE, body, SYSTEM_NAMESPACE)
    await _seen(api, probe, spec.get("leaseTransitions", 0) if spec is not None else 0)
    try:
        yield
    finally:
        await _no_lease(api)


async def _no_lease(api: ApiClient) -> None:
    try:
        await api.delete(kinds.LEASE, OPERATOR_LEASE, SYSTEM_NAMESPACE)
    except NotFound:
        return


async def _seen(api: ApiClient, probe: ApiClient, epoch: int) -> None:
    """Try on a VM of its own until the server refuses the epoch before this one, and takes this one."""
    async with asyncio.timeout(_IN_FORCE):
        while True:
            await remove(api, VM, "probe-epoch")
            await api.create(VM, specimen(VM, "probe-epoch"), "default")
            taken = [await _takes(probe, tried) for tried in (epoch - 1, epoch)]
            await remove(api, VM, "probe-epoch")
            if taken == [epoch == 0, True]:
                return
            await asyncio.sleep(0.05)


async def _takes(probe: ApiClient, epoch: int) -> bool:
    if epoch < 0:
        return True
    try:
        await bind(probe, "probe-epoch", epoch, f"e{epoch}")
    except Forbidden:
        return False
    return True


async def test_a_former_leader_cannot_bind(api: ApiClient, operator: ApiClient, vm: str) -> None:
    async with led(api, {"leaseTransitions": 5}, operator):
        for client in (operator, api):
            with pytest.raises(Forbidden) as refusal:
                await bind(client, vm, 4)
            assert LATE in refusal.value.message
        assert "status" not in await api.get(VM, vm, "default")


async def test_a_former_leader_cannot_take_over_a_binding(api: ApiClient, operator: ApiClient, vm: str) -> None:
    async with led(api, {"leaseTransitions": 5}, operator):
        await bind(operator, vm, 5, "new")
        with pytest.raises(Forbidden):
            await bind(operator, vm, 4, "old")
        assert (await api.get(VM, vm, "default"))["status"]["claim"]["id"] == "new"


@pytest.mark.parametrize(
    "change",
    [{"id": "c2"}, {"cpu": "4"}, {"sealedUserData": "x"}],
    ids=["a new claim in place of the old", "another size under the same id", "other user-data under the same id"],
)
async def test_a_former_leader_cannot_claim_anew(
    api: ApiClient, operator: ApiClient, vm: str, change: dict[str, Any]
) -> None:
    await bind(operator, vm, 4)
    async with led(api, {"leaseTransitions": 5}, operator):
        for client in (operator, api):
            status = {"nodeName": "node-1", "claim": {**claim(4), **change}}
            with pytest.raises(Forbidden) as refusal:
                await client.apply(VM, vm, "default", {"status": status}, field_manager=OPERATOR, subresource="status")
            assert LATE in refusal.value.message
        fresh = {"status": {"nodeName": "node-1", "claim": {**claim(5), **change}}}
        await operator.apply(VM, vm, "default", fresh, field_manager=OPERATOR, subresource="status")


async def test_a_former_leader_cannot_move_a_claim(api: ApiClient, operator: ApiClient, vm: str) -> None:
    await bind(operator, vm, 4)
    async with led(api, {"leaseTransitions": 5}, operator):
        with pytest.raises(Forbidden):
            await bind(operator, vm, 4, nodeName="node-2")


@pytest.mark.parametrize("epoch", [5, 6], ids=["the current epoch", "one that the server has not seen yet"])
async def test_the_leader_binds(api: ApiClient, operator: ApiClient, vm: str, epoch: int) -> None:
    async with led(api, {"leaseTransitions": 5}, operator):
        assert (await bind(operator, vm, epoch))["status"]["claim"]["epoch"] == epoch


@pytest.mark.parametrize(
    "spec", [None, {}, {"leaseTransitions": 0}], ids=["no Lease", "a Lease without", "a first one"]
)
async def test_any_epoch_binds_before_leadership_has_changed(
    api: ApiClient, operator: ApiClient, vm: str, spec: dict[str, Any] | None
) -> None:
    async with led(api, spec, operator):
        assert (await bind(operator, vm, 0))["status"]["nodeName"] == "node-1"


async def test_writes_that_bring_no_new_claim_are_free(
    server: ApiServer, api: ApiClient, operator: ApiClient, vm: str
) -> None:
    kubeconfig = server.write_kubeconfig("agent-of-1", agent_token(server, "node-1"))
    await bind(operator, vm, 2)
    async with (
        led(api, {"leaseTransitions": 5}, operator),
        await ApiClient.connect(kubeconfig, user_agent="t") as agent,
    ):
        answer = {"status": {"admittedClaim": "c1", "phase": "Running"}}
        await agent.apply(VM, vm, "default", answer, field_manager=AGENT, subresource="status")
        await bind(operator, vm, 2, phase="NodeLost")
        unbound = {"status": {"phase": "Pending"}}
        stored = await operator.apply(VM, vm, "default", unbound, field_manager=OPERATOR, subresource="status")
        assert "claim" not in stored["status"]
