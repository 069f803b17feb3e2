"""Guests are asked seldom, a few at once, and what they say goes through at most once a minute."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.unit.guests.fakes import Clock

from berth_agent.guests.information import Guests
from berth_agent.hypervisor.errors import GuestAgentUnavailable
from berth_agent.hypervisor.states import GuestInfo, GuestInterface

pytestmark = pytest.mark.looptime
NICS = (GuestInterface("eth0", "52:54:00:00:00:01", ("10.1.1.5/24",)),)


class World:
    """Guests that say what a test says.

    Attributes:
        says: the hostname that all tell; None: their agents do not answer; every `*` in it is the number of the answer.
        asked: when, by UID.
        changed: when news of which guest went through.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.says: str | None = "web"
        self.takes = 0.0
        self.nics_after = 0
        """Answers without an address that a guest gives first."""
        self.asked: defaultdict[str, list[float]] = defaultdict(list)
        self.changed: list[tuple[float, str]] = []
        self.at_once = 0
        self._under_way = 0
        self.guests = Guests(self, lambda uid: self.changed.append((self.clock.passed, uid)), jitter=lambda: 0.5)

    async def guest_info(self, uid: str) -> GuestInfo:
        self.asked[uid].append(self.clock.passed)
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self._under_way -= 1
        if self.says is None:
            raise GuestAgentUnavailable("no agent answers")
        count = len(self.asked[uid])
        return GuestInfo(
            hostname=self.says.replace("*", str(count)), interfaces=NICS if count > self.nics_after else ()
        )


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    it = World()
    try:
        yield it
    finally:
        await it.guests.close()
        assert not [task for task in asyncio.all_tasks() if "information of" in task.get_name()]


async def test_a_guest_is_asked_when_its_agent_connects_once_more_soon_and_then_every_five_minutes() -> None:
    async with world() as it:
        for _ in range(100):
            it.guests.connected("u1")
            await asyncio.sleep(8)
        assert it.asked["u1"] == [0, 60, 360, 660]
        assert (it.guests.of("u1"), it.changed) == (GuestInfo(hostname="web", interfaces=NICS), [(0, "u1")])
        assert it.guests.of("u2") is None


async def test_what_a_guest_says_before_its_network_is_up_does_not_count() -> None:
    async with world() as it:
        it.nics_after = 2
        it.guests.connected("u1")
        await asyncio.sleep(60)
        assert it.asked["u1"] == [0, 10, 20]
        assert it.changed == [(20, "u1")]


async def test_a_guest_without_a_network_is_heard_in_the_end() -> None:
    async with world() as it:
        it.nics_after = 100
        it.guests.connected("u1")
        await asyncio.sleep(60)
        assert it.guests.of("u1") == GuestInfo(hostname="web")
        assert it.changed == [(30, "u1")]


async def test_a_look_comes_at_once_where_nothing_was_new_lately() -> None:
    async with world() as it:
        it.guests.connected("u1")
        await asyncio.sleep(100)
        it.says = "db"
        it.guests.look("u1")
        await asyncio.sleep(1)
        assert (it.asked["u1"], it.changed) == ([0, 60, 100], [(0, "u1"), (100, "u1")])
        assert it.guests.of("u1") == GuestInfo(hostname="db", interfaces=NICS)


async def test_a_guest_that_always_says_something_else_is_heard_once_a_minute() -> None:
    async with world() as it:
        it.says = "web-*"
        for second in range(600):
            it.guests.connected("u1")
            it.guests.look("u1")
            await asyncio.sleep(0.5)
            if second % 2:
                it.guests.disconnected("u1")
            await asyncio.sleep(0.5)
        assert len(it.changed) == 10
        assert all(later - earlier >= 60 for (earlier, _), (later, _) in zip(it.changed, it.changed[1:], strict=False))


async def test_looks_at_a_guest_without_news_are_ten_seconds_apart() -> None:
    async with world() as it:
        it.guests.connected("u1")
        await asyncio.sleep(60)
        for _ in range(90):
            it.guests.look("u1")
            await asyncio.sleep(0.5)
        assert it.asked["u1"] == [0, 60, 70, 80, 90, 100]


async def test_a_guest_that_does_not_answer_is_asked_ever_less() -> None:
    async with world() as it:
        it.says = None
        it.guests.connected("u1")
        await asyncio.sleep(900)
        assert it.asked["u1"] == [0, 15, 45, 105, 225, 465, 765]
        assert (it.guests.of("u1"), it.changed) == (None, [])


async def test_an_answer_that_never_comes_is_given_up() -> None:
    async with world() as it:
        it.takes = 10_000
        for uid in ("u1", "u2", "u3"):
            it.guests.connected(uid)
        await asyncio.sleep(40)
        assert (it.asked["u3"], it.at_once) == ([30], 2)


async def test_two_guests_are_asked_at_once() -> None:
    async with world() as it:
        it.takes = 1
        for number in range(30):
            it.guests.connected(f"u{number}")
        await asyncio.sleep(16)
        assert (it.at_once, len(it.changed)) == (2, 30)


async def test_a_guest_whose_agent_is_gone_is_not_asked_and_what_it_said_stays() -> None:
    async with world() as it:
        it.guests.connected("u1")
        await asyncio.sleep(1)
        it.guests.disconnected("u1")
        it.guests.look("u1")
        await asyncio.sleep(3600)
        assert (it.asked["u1"], it.guests.of("u1")) == ([0], GuestInfo(hostname="web", interfaces=NICS))
        it.guests.connected("u1")
        await asyncio.sleep(1)
        assert (it.asked["u1"], it.changed) == ([0, 3601], [(0, "u1")])


async def test_a_forgotten_guest_is_not_heard_any_more() -> None:
    async with world() as it:
        it.takes = 2
        it.guests.connected("u1")
        await asyncio.sleep(1)
        it.guests.forget("u1")
        await asyncio.sleep(3600)
        assert (it.guests.of("u1"), it.changed, it.asked["u1"]) == (None, [], [0])
