"""A reflector sees on the real API server what happens, and what happened while it could not see."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import pytest_asyncio
from tests.fakes.watching import Copy
from tests.integration.api.apiserver import ApiServer
from tests.integration.api.conftest import remove, removed
from tests.integration.api.specimens import specimen

from berth_api.client import ApiClient, Gone, ObjectList, Reflector, Watcher, WatchEvent
from berth_api.kinds import STORAGE_POOL, VIRTUAL_MACHINE, Kind

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture(autouse=True)
async def no_vms(api: ApiClient) -> None:
    """The server is shared: what other tests left would be told, too."""
    for body in (await api.list(VIRTUAL_MACHINE, "default")).items:
        await remove(api, VIRTUAL_MACHINE, body["metadata"]["name"])


@asynccontextmanager
async def following(watcher: Watcher, copy: Copy, **options: Any) -> AsyncIterator[Reflector]:
    reflector = Reflector(watcher, VIRTUAL_MACHINE, copy, **options)
    task = asyncio.create_task(reflector.run())
    try:
        await asyncio.wait_for(reflector.synced.wait(), 10)
        yield reflector
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(copy: Copy, *names: str) -> None:
    async with asyncio.timeout(10):
        while copy.names != set(names):
            copy.changed.clear()
            await copy.changed.wait()


async def bind(api: ApiClient, name: str, node: str) -> None:
    status = {"nodeName": node, "phase": "Scheduled"}
    await api.apply(VIRTUAL_MACHINE, name, "default", {"status": status}, field_manager="m", subresource="status")


async def test_what_happens_is_told(api: ApiClient) -> None:
    async with removed(api, VIRTUAL_MACHINE, "one"), removed(api, VIRTUAL_MACHINE, "two"):
        await api.create(VIRTUAL_MACHINE, specimen(VIRTUAL_MACHINE, "one"), "default")
        copy = Copy()
        async with following(api, copy, namespace="default") as reflector:
            assert copy.names == {"one"}
            await api.create(VIRTUAL_MACHINE, specimen(VIRTUAL_MACHINE, "two"), "default")
            await until(copy, "one", "two")
            await remove(api, VIRTUAL_MACHINE, "one")
            await until(copy, "two")
            assert reflector.silence < 10


async def test_only_what_is_selected_is_told_and_what_is_selected_no_more_is_removed(api: ApiClient) -> None:
    async with removed(api, VIRTUAL_MACHINE, "one"):
        await api.create(VIRTUAL_MACHINE, specimen(VIRTUAL_MACHINE, "one"), "default")
        copy = Copy()
        async with following(api, copy, field_selector="status.nodeName=node-1"):
            assert copy.names == set()
            await bind(api, "one", "node-1")
            await until(copy, "one")
            await bind(api, "one", "node-2")
            await until(copy)


async def test_watches_that_the_server_ends_leave_no_gap(api: ApiClient) -> None:
    async with removed(api, VIRTUAL_MACHINE, "one"):
        copy = Copy()
        async with following(api, copy, timeout_seconds=1):
            await asyncio.sleep(2.5)
            await api.create(VIRTUAL_MACHINE, specimen(VIRTUAL_MACHINE, "one"), "default")
            await until(copy, "one")
    assert copy.told.count("replace") == 1


async def test_a_version_that_nobody_remembers_is_gone(api: ApiClient) -> None:
    with pytest.raises(Gone):
        await anext(api.watch(VIRTUAL_MACHINE, resource_version="1"))


class Forgetful:
    """The real API server, which forgets one version when it is told to."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self.remembers = asyncio.Event()
        self.asked = asyncio.Event()

    async def list(self, kind: Kind, namespace: str = "", **options: Any) -> ObjectList:
        return await self._api.list(kind, namespace, **options)

    async def watch(
        self, kind: Kind, namespace: str = "", *, resource_version: str, **options: Any
    ) -> AsyncGenerator[WatchEvent, None]:
        if not self.remembers.is_set():
            self.asked.set()
            await self.remembers.wait()
            resource_version = "1"
        async for event in self._api.watch(kind, namespace, resource_version=resource_version, **options):
            yield event


async def test_what_vanished_unseen_is_told(api: ApiClient) -> None:
    async with removed(api, VIRTUAL_MACHINE, "one"), removed(api, VIRTUAL_MACHINE, "two"):
        for name in ("one", "two"):
            await api.create(VIRTUAL_MACHINE, specimen(VIRTUAL_MACHINE, name), "default")
        copy, server = Copy(), Forgetful(api)
        async with following(server, copy):
            await server.asked.wait()
            await remove(api, VIRTUAL_MACHINE, "one")
            assert copy.names == {"one", "two"}
            server.remembers.set()
            await until(copy, "two")
    assert copy.told.count("replace") == 2


async def test_a_right_that_is_granted_later_is_used(
    server: ApiServer, api: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.kubectl("create", "serviceaccount", "late", "-n", "berth-system")
    kubeconfig = server.write_kubeconfig(
        "late", server.kubectl("create", "token", "late", "-n", "berth-system").strip()
    )
    copy = Copy()
    async with await ApiClient.connect(kubeconfig, user_agent="t") as client:
        reflector = Reflector(client, STORAGE_POOL, copy)
        task = asyncio.create_task(reflector.run())
        await asyncio.sleep(0.5)
        assert not reflector.synced.is_set()
        assert "orbidden" in caplog.text
        role = ("--clusterrole=berth-operator", "--serviceaccount=berth-system:late")
        server.kubectl("create", "clusterrolebinding", "late", *role)
        try:
            await asyncio.wait_for(reflector.synced.wait(), 30)
        finally:
            task.cancel()
            await asyncio.wait({task})
            server.kubectl("delete", "clusterrolebinding", "late")
    assert "default" in copy.names
