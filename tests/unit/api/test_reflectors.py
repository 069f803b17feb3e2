"""A reflector keeps its copy right whatever a watch does, and is never taken for seeing when it is blind."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from tests.fakes.watching import FOREVER, LIST, LOST, Copy, Scripted, Step, added, bookmark, deleted, listed, named

from berth_api.backoffs import Backoff
from berth_api.client import (
    ApiClient,
    ApiError,
    DeadlineExceeded,
    Forbidden,
    Gone,
    NotFound,
    ObjectList,
    Reflector,
    Sink,
    TooManyRequests,
    Unauthorized,
    Watcher,
)
from berth_api.client.reflectors import SLICE
from berth_api.kinds import VIRTUAL_MACHINE

pytestmark = pytest.mark.looptime

GONE = Gone(410, "Expired", "too old")


def implements_the_port(client: ApiClient) -> Watcher:
    return client


def reflecting(watcher: Watcher, sink: Sink) -> Reflector:
    return Reflector(watcher, VIRTUAL_MACHINE, sink, backoff=Backoff(1.0, 16.0), random=Random(1))


def lost(times: int) -> list[list[Step]]:
    return [[LOST] for _ in range(times)]


@asynccontextmanager
async def running(reflector: Reflector) -> AsyncIterator[None]:
    task = asyncio.create_task(reflector.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(copy: Copy, wanted: Callable[[], bool]) -> None:
    async with asyncio.timeout(3600):
        while not wanted():
            copy.changed.clear()
            await copy.changed.wait()


async def test_a_list_is_handed_over_whole_before_it_counts_as_synced() -> None:
    watcher, copy = Scripted([listed(5, "a", "b")]), Copy()
    reflector = reflecting(watcher, copy)
    assert not reflector.synced.is_set()
    async with running(reflector):
        await reflector.synced.wait()
        assert copy.told == ["upsert a", "upsert b", "replace"]
        await asyncio.sleep(0)
        assert watcher.order == [LIST, "5"]


async def test_events_change_the_copy() -> None:
    watcher, copy = Scripted([listed(5, "a")], [[added("b", 6), deleted("a", 7), FOREVER]]), Copy()
    async with running(reflecting(watcher, copy)):
        await until(copy, lambda: copy.names == {"b"})


async def test_what_is_followed_is_asked_for_each_time() -> None:
    watcher = Scripted([listed(5)])
    reflector = Reflector(
        watcher,
        VIRTUAL_MACHINE,
        Copy(),
        namespace="ns",
        field_selector="f=1",
        label_selector="l=2",
        timeout_seconds=100,
    )
    async with running(reflector):
        await asyncio.sleep(1)
    selected = {"kind": VIRTUAL_MACHINE, "namespace": "ns", "field_selector": "f=1", "label_selector": "l=2"}
    assert watcher.options[0] == selected
    timeout = watcher.options[1].pop("timeout_seconds")
    assert watcher.options[1] == selected
    assert 100 <= timeout <= 150


async def test_a_watch_that_ends_goes_on_at_once_from_the_last_version() -> None:
    watcher, copy = Scripted([listed(5)], [[added("a", 6), bookmark(9)], [30.0], [added("b", 10), FOREVER]]), Copy()
    async with running(reflecting(watcher, copy)):
        await until(copy, lambda: "b" in copy.names)
    assert watcher.asked == [(0, LIST), (0, "5"), (0, "9"), (30, "9")]


async def test_a_lost_watch_goes_on_after_a_pause_and_removes_nothing() -> None:
    watcher, copy = Scripted([listed(5, "a")], [[bookmark(8), LOST], [added("b", 9), FOREVER]]), Copy()
    async with running(reflecting(watcher, copy)):
        await until(copy, lambda: copy.names == {"a", "b"})
    assert watcher.order == [LIST, "5", "8"]
    assert 0.5 <= watcher.asked[-1][0] <= 1.0


@pytest.mark.parametrize("before", [[], [added("c", 6)]], ids=["as the answer", "as an event"])
async def test_what_vanished_while_the_version_was_forgotten_is_told(before: list[Step]) -> None:
    watcher = Scripted([listed(5, "a", "b"), listed(50, "b")], [[*before, GONE], [FOREVER]])
    copy = Copy()
    async with running(reflecting(watcher, copy)):
        await until(copy, lambda: copy.names == {"b"})
        await asyncio.sleep(0)
    assert watcher.order == [LIST, "5", LIST, "50"]


async def test_a_version_that_is_always_forgotten_does_not_keep_everybody_busy() -> None:
    watcher = Scripted([listed(number) for number in range(1, 100)], [[GONE] for _ in range(99)])
    async with running(reflecting(watcher, Copy())):
        await asyncio.sleep(60)
    assert 4 <= watcher.order.count(LIST) <= 9


async def test_watches_that_end_at_once_do_not_keep_everybody_busy() -> None:
    watcher = Scripted([listed(5)] * 100, [[] for _ in range(99)])
    async with running(reflecting(watcher, Copy())):
        await asyncio.sleep(60)
    assert len(watcher.order) <= 16


async def test_a_watch_that_was_steady_breaks_off_for_the_first_time() -> None:
    watcher = Scripted([listed(5)], [[60.0, LOST] for _ in range(9)])
    async with running(reflecting(watcher, Copy())):
        await asyncio.sleep(9 * 60 + 9)
    assert watcher.order == [LIST, *["5"] * 10]


@pytest.mark.parametrize(
    "refusal",
    [
        Forbidden(403, "Forbidden", "may not watch"),
        NotFound(404, "NotFound", "no such kind"),
        Unauthorized(401, "Unauthorized", "who are you"),
    ],
)
async def test_a_refusal_is_told_and_asked_again(refusal: ApiError, caplog: pytest.LogCaptureFixture) -> None:
    watcher, copy = Scripted([refusal, refusal, listed(5, "a")], [[refusal], [FOREVER]]), Copy()
    watcher.lists.append(listed(7, "b"))
    reflector = reflecting(watcher, copy)
    async with running(reflector):
        await until(copy, lambda: copy.names == {"b"})
    assert watcher.order[:5] == [LIST, LIST, LIST, "5", LIST]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
    assert refusal.message in caplog.text


async def test_a_blind_reflector_says_for_how_long() -> None:
    watcher = Scripted([LOST, listed(5)], [[10.0, bookmark(6), FOREVER]])
    reflector = reflecting(watcher, Copy())
    assert reflector.silence == float("inf")
    async with running(reflector):
        await reflector.synced.wait()
        assert reflector.silence == 0
        await asyncio.sleep(11)
        assert reflector.silence == pytest.approx(1)
        await asyncio.sleep(99)
        assert reflector.silence == pytest.approx(100)


async def test_a_server_that_stays_away_is_listed_anew_when_it_is_back() -> None:
    watcher = Scripted([listed(5, "a"), listed(9, "b")], [*lost(5), [FOREVER]])
    copy = Copy()
    async with running(reflecting(watcher, copy)):
        await until(copy, lambda: copy.names == {"b"})
    assert watcher.order[:7] == [LIST, *["5"] * 5, LIST]


async def test_a_short_outage_costs_no_list() -> None:
    watcher = Scripted([listed(5)], [*lost(4), [added("a", 6), LOST], [LOST], [added("b", 7)]])
    copy = Copy()
    async with running(reflecting(watcher, copy)):
        await until(copy, lambda: "b" in copy.names)
    assert watcher.order.count(LIST) == 1


async def test_a_silent_watch_is_followed_by_another() -> None:
    silent = DeadlineExceeded(0, "Timeout", "silent")
    watcher, copy = Scripted([listed(5)], [[315.0, silent], [added("a", 6), FOREVER]]), Copy()
    async with running(reflecting(watcher, copy)):
        await until(copy, lambda: "a" in copy.names)
    assert watcher.order == [LIST, "5", "5"]


async def test_a_busy_server_gets_the_pause_it_asks_for() -> None:
    watcher = Scripted([TooManyRequests(429, "", "busy", 120.0), listed(5)])
    reflector = reflecting(watcher, Copy())
    async with running(reflector):
        await reflector.synced.wait()
    assert watcher.asked[1] == (120, LIST)


@pytest.mark.parametrize(
    "garbled",
    [ObjectList([named("a", 5), {"kind": "Status"}], "9"), ObjectList([named("a", 5)], "")],
    ids=["no object", "no version"],
)
async def test_a_garbled_list_removes_nothing(garbled: ObjectList) -> None:
    watcher, copy = Scripted([listed(5, "a", "b"), garbled, listed(9, "b")], [[GONE], [FOREVER]]), Copy()
    async with running(reflecting(watcher, copy)):
        await until(copy, lambda: copy.told.count("replace") == 2)
    assert copy.names == {"b"}
    assert watcher.order[:4] == [LIST, "5", LIST, LIST]
    assert copy.told == ["upsert a", "upsert b", "replace", "upsert b", "replace"]


class Fragile(Copy):
    """Cannot take everything in."""

    def __init__(self, *, broken_lists: int = 0) -> None:
        super().__init__()
        self.broken_lists = broken_lists

    def upsert(self, body: Mapping[str, Any]) -> None:
        if body["metadata"]["name"] == "bad":
            raise RuntimeError("a bug")
        super().upsert(body)

    def replace(self, listed: ObjectList) -> None:
        if self.broken_lists:
            self.broken_lists -= 1
            raise RuntimeError("a bug")
        super().replace(listed)


async def test_an_object_that_cannot_be_taken_in_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    watcher, copy = Scripted([listed(5, "bad", "a")], [[added("bad", 6), added("b", 7), FOREVER]]), Fragile()
    async with running(reflecting(watcher, copy)):
        await until(copy, lambda: "b" in copy.names)
    assert caplog.text.count("a bug: VirtualMachine bad is not taken in") == 2


async def test_a_list_that_was_not_taken_in_is_not_synced() -> None:
    watcher, copy = Scripted([listed(5, "a"), listed(6, "b")]), Fragile(broken_lists=1)
    reflector = reflecting(watcher, copy)
    async with running(reflector):
        await asyncio.sleep(0.1)
        assert not reflector.synced.is_set()
        await reflector.synced.wait()
    assert watcher.order[:2] == [LIST, LIST]
    assert copy.names == {"b"}


@pytest.mark.parametrize("by", ["list", "watch"])
async def test_a_burst_lets_others_have_their_turn(by: str) -> None:
    names = [f"vm-{number}" for number in range(10 * SLICE)]
    burst: list[Step] = [added(name, 6) for name in names]
    watcher = Scripted([listed(5, *names)]) if by == "list" else Scripted([listed(5)], [[*burst, FOREVER]])
    copy, most = Copy(), 0
    async with running(reflecting(watcher, copy)):
        while len(copy.names) < len(names):
            before = len(copy.told)
            await asyncio.sleep(0)
            most = max(most, len(copy.told) - before)
    assert most <= SLICE + 1


async def test_cancelling_closes_the_watch() -> None:
    watcher, copy = Scripted([listed(5)], [[added("a", 6), FOREVER]]), Copy()
    async with running(reflecting(watcher, copy)):
        await until(copy, lambda: "a" in copy.names)
        assert watcher.open == 1
    assert watcher.open == 0


async def test_cancelling_in_the_middle_of_a_burst_closes_the_watch() -> None:
    burst: list[Step] = [added(str(number), 6) for number in range(10 * SLICE)]
    watcher, copy = Scripted([listed(5)], [burst]), Copy()
    async with running(reflecting(watcher, copy)):
        await until(copy, lambda: len(copy.names) >= SLICE)
        assert watcher.open == 1
    assert watcher.open == 0
    assert len(copy.names) < len(burst)
