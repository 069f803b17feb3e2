"""The heartbeat: a Lease, on time whatever happens, on virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.fakes.api import FakeApi

from berth_agent.node.heartbeats import Heartbeat
from berth_api.client import Conflict, Forbidden, Unavailable
from berth_api.kinds import LEASE

pytestmark = pytest.mark.looptime
START = datetime(2026, 1, 1, tzinfo=UTC)
WHERE = "node-1", "berth-system"


class Slow(FakeApi):
    """An API server that takes its time."""

    takes = 0.0

    async def update(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        await asyncio.sleep(self.takes)
        return await super().update(*args, **kwargs)


@asynccontextmanager
async def beating(api: FakeApi) -> AsyncIterator[None]:
    """A heartbeat every ten seconds, by a clock that goes with the loop's."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    heartbeat = Heartbeat(
        api,
        namespace="berth-system",
        node_name="node-1",
        interval=10,
        valid=40,
        now=lambda: START + timedelta(seconds=loop.time() - begun),
    )
    task = asyncio.create_task(heartbeat.run())
    try:
        await asyncio.sleep(0.5)
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


def lease(api: FakeApi) -> dict[str, Any]:
    body = api.peek(LEASE, *WHERE)
    assert body is not None
    return body


def renewed(api: FakeApi) -> str:
    return str(lease(api)["spec"]["renewTime"])


async def test_it_makes_the_lease_and_renews_it_with_one_write_a_beat() -> None:
    api = FakeApi()
    async with beating(api):
        assert lease(api)["spec"] == {
            "holderIdentity": "node-1",
            "leaseDurationSeconds": 40,
            "renewTime": "2026-01-01T00:00:00.000000Z",
            "acquireTime": "2026-01-01T00:00:00.000000Z",
        }
        before = len(api.calls)
        await asyncio.sleep(30)
        assert [call.verb for call in api.calls[before:]] == ["update"] * 3
        assert renewed(api).startswith("2026-01-01T00:00:30")


async def test_a_lease_that_is_there_is_taken_over_with_what_others_wrote_in_it() -> None:
    api = FakeApi()
    metadata = {"name": "node-1", "namespace": "berth-system", "labels": {"a": "b"}}
    api.add(LEASE, {"metadata": metadata, "spec": {"leaseTransitions": 3, "renewTime": "2020-01-01T00:00:00.000000Z"}})
    async with beating(api):
        assert lease(api)["spec"]["leaseTransitions"] == 3
        assert lease(api)["metadata"]["labels"] == {"a": "b"}
        assert renewed(api).startswith("2026")


@pytest.mark.parametrize("error", [Unavailable(503, "", "down"), Forbidden(403, "", "not yet"), Conflict(409, "", "x")])
async def test_a_beat_that_fails_is_followed_by_the_next(error: Exception) -> None:
    api = FakeApi()
    async with beating(api):
        api.fail(error, times=2)
        await asyncio.sleep(40)
        assert renewed(api).startswith("2026-01-01T00:00:40")


async def test_a_lease_that_somebody_deleted_is_made_again() -> None:
    api = FakeApi()
    async with beating(api):
        api.remove(LEASE, *WHERE)
        await asyncio.sleep(25)
        assert renewed(api).startswith("2026-01-01T00:00:20")


async def test_a_lease_that_somebody_wrote_is_read_again_at_once() -> None:
    api = FakeApi()
    async with beating(api):
        body = lease(api)
        body["spec"]["leaseTransitions"] = 9
        api.add(LEASE, body)
        await asyncio.sleep(10)
        assert lease(api)["spec"]["leaseTransitions"] == 9
        assert renewed(api).startswith("2026-01-01T00:00:10")


async def test_a_slow_server_does_not_make_the_beats_rarer() -> None:
    api = Slow()
    async with beating(api):
        api.takes = 8.0
        before = len(api.calls)
        await asyncio.sleep(59)
        assert len(api.calls) - before == 5


async def test_a_lease_without_a_spec_is_filled() -> None:
    api = FakeApi()
    api.add(LEASE, {"metadata": {"name": "node-1", "namespace": "berth-system"}, "spec": None})
    async with beating(api):
        assert renewed(api).startswith("2026-01-01")
