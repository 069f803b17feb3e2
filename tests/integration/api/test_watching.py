"""The rights that kopf needs to start and to watch: it asks for no more than each role has."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import kopf
import pytest
from tests.integration.api.apiserver import ApiServer
from tests.integration.api.conftest import agent_token, removed
from tests.integration.api.specimens import specimen

from berth_api import kinds
from berth_api.client import ApiClient
from berth_api.kinds import Kind

pytestmark = pytest.mark.integration

READ_BY_AGENTS = (
    kinds.VIRTUAL_MACHINE,
    kinds.VIRTUAL_MACHINE_CLASS,
    kinds.VIRTUAL_MACHINE_IMAGE,
    kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE,
    kinds.VIRTUAL_NETWORK,
    kinds.STORAGE_POOL,
    kinds.HYPERVISOR,
    kinds.POD,
)
READ_BY_THE_OPERATOR = (
    *(kind for kind in READ_BY_AGENTS if kind is not kinds.POD),
    kinds.NODE,
    kinds.LEASE,
    kinds.NAMESPACE,
    kinds.PRIORITY_CLASS,
)


async def watch(client: ApiClient, watched: tuple[Kind, ...], expected: set[str]) -> None:
    """Run kopf until it has told of every expected `Kind/name`."""
    missing = set(expected)
    done = asyncio.Event()
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        connection = await client.connection()
        return kopf.ConnectionInfo(server=connection.server, token=connection.token, ca_path=connection.ca_path)

    for kind in watched:

        @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)
        async def take(body: kopf.Body, **_: Any) -> None:
            missing.discard(f"{body['kind']}/{body['metadata']['name']}")
            if not missing:
                done.set()

    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.queueing.exit_timeout = 0.5
    stop = asyncio.Event()
    operator = asyncio.create_task(
        kopf.operator(registry=registry, settings=settings, clusterwide=True, stop_flag=stop)
    )
    try:
        await asyncio.wait_for(done.wait(), 30)
    finally:
        stop.set()
        await operator


@pytest.mark.parametrize(
    ("account", "watched"), [("berth-agent", READ_BY_AGENTS), ("berth-operator", READ_BY_THE_OPERATOR)]
)
async def test_kopf_is_refused_nothing(
    server: ApiServer, api: ApiClient, caplog: pytest.LogCaptureFixture, account: str, watched: tuple[Kind, ...]
) -> None:
    caplog.set_level(logging.INFO)
    token = (
        agent_token(server, "node-1")
        if account == "berth-agent"
        else server.kubectl("create", "token", account, "-n", "berth-system").strip()
    )
    kubeconfig: Path = server.write_kubeconfig(account, token)
    async with removed(api, kinds.VIRTUAL_MACHINE, "watched"):
        await api.create(kinds.VIRTUAL_MACHINE, specimen(kinds.VIRTUAL_MACHINE, "watched"), "default")
        async with await ApiClient.connect(kubeconfig, user_agent="t") as client:
            expected = {"VirtualMachine/watched", "StoragePool/default"}
            if kinds.NODE in watched:
                expected |= {"Node/node-1", "Namespace/berth-system", "PriorityClass/system-node-critical"}
            await watch(client, watched, expected)
    told = [record.getMessage() for record in caplog.records]
    assert [line for line in told if "Not enough permissions" in line or "orbidden" in line or "403" in line] == []
