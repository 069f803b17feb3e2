"""A real API server with Berth's CRDs and the operator's rights, for all tests of this folder."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.integration.operator.apiserver import PROJECT, Server, install
from tests.integration.operator.worlds import World, clean

from berth_api.client import ApiClient
from berth_dev.caches import cache_root
from berth_dev.tools import build_tools


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    binaries, _ = build_tools(cache_root(), PROJECT, lambda _line: None)
    one = Server(binaries, tmp_path_factory.mktemp("apiserver"))
    try:
        one.start()
        asyncio.run(install(one))
        yield one
    finally:
        one.stop()


@pytest_asyncio.fixture
async def world(server: Server, tmp_path: Path) -> AsyncIterator[World]:
    async with await ApiClient.connect(server.kubeconfig, user_agent="test", deadline=60.0) as api:
        await clean(api)
        one = World(server, api, tmp_path)
        await one.furnish()
        try:
            yield one
        finally:
            one.kill_all()
