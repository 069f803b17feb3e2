"""Heartbeats: each node once an interval, never all at once, on virtual time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from tests.fakes.api import FakeApi

from berth_api.client import Conflict, Unavailable
from berth_api.kinds import LEASE
from berth_dev.hollow.heartbeats import Heartbeats
from berth_dev.hollow.objects import LABEL
from berth_dev.hollow.options import HollowOptions
from berth_dev.hollow.registration import Registration
from berth_dev.hollow.reports import Report

pytestmark = pytest.mark.looptime
OPTIONS = HollowOptions(count=20, heartbeat_interval=10, workers=4)


class Timed(FakeApi):
    """Remembers when each Lease was renewed, and may take its time."""

    def __init__(self) -> None:
        super().__init__()
        self.beats: list[tuple[float, str]] = []
        self.takes = 0.0

    async def update(self, kind: Any, name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self.beats.append((asyncio.get_running_loop().time(), name))
        await asyncio.sleep(self.takes)
        return await super().update(kind, name, *args, **kwargs)


@asynccontextmanager
async def beating(api: FakeApi, silent: set[str]) -> AsyncIterator[Report]:
    versions = await Registration(api, OPTIONS).register()
    report = Report()
    heartbeats = Heartbeats(api, OPTIONS, report, is_silent=silent.__contains__)
    task = asyncio.create_task(heartbeats.run(versions))
    try:
        yield report
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_they_are_evenly_spread() -> None:
    api = Timed()
    async with beating(api, set()) as report:
        await asyncio.sleep(20.1)
    times = [when for when, _ in api.beats]
    steps = [after - before for before, after in pairwise(times)]
    assert len(times) == report.heartbeats == 40
    assert min(steps) == pytest.approx(0.5)
    assert max(steps) == pytest.approx(0.5)
    assert set(Counter(name for _, name in api.beats).values()) == {2}
    assert len([call for call in api.calls if call.verb == "get"]) == 0


async def test_a_silent_node_has_none_until_it_speaks_again() -> None:
    api, silent = Timed(), {"hollow-0003"}
    async with beating(api, silent):
        await asyncio.sleep(20.1)
        assert "hollow-0003" not in [name for _, name in api.beats]
        silent.clear()
        await asyncio.sleep(10)
        assert "hollow-0003" in [name for _, name in api.beats]


async def test_a_lease_keeps_its_label() -> None:
    api = Timed()
    async with beating(api, set()):
        await asyncio.sleep(10.1)
    lease = api.peek(LEASE, "hollow-0001", "berth-system")
    assert lease is not None
    assert lease["metadata"]["labels"] == {LABEL: "true"}
    assert lease["spec"]["holderIdentity"] == "hollow-0001"


async def test_a_lease_that_somebody_wrote_or_deleted_is_renewed_at_the_next_beat() -> None:
    api = Timed()
    async with beating(api, set()) as report:
        api.fail(Conflict(409, "Conflict", "changed"), verb="update", name="hollow-0001")
        await api.delete(LEASE, "hollow-0002", "berth-system")
        await asyncio.sleep(20.1)
        assert report.missed_heartbeats == 1
        assert report.heartbeats == 39
        assert api.peek(LEASE, "hollow-0002", "berth-system") is not None


async def test_an_outage_is_survived_and_not_made_up_for() -> None:
    api = Timed()
    async with beating(api, set()) as report:
        api.takes = 60.0
        await asyncio.sleep(120)
        assert report.heartbeats <= 8
        api.takes = 0.0
        await asyncio.sleep(61)
        before = len(api.beats)
        await asyncio.sleep(20)
        assert 40 <= len(api.beats) - before <= 60


async def test_what_the_server_cannot_take_counts_as_missed() -> None:
    api = Timed()
    async with beating(api, set()) as report:
        api.fail(Unavailable(0, "", "away"), times=20)
        await asyncio.sleep(10.1)
        assert report.missed_heartbeats == 20
        await asyncio.sleep(10)
        assert report.heartbeats == 20
