"""A guest's agent that comes and goes is told of seldom, and less and less."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.fakes.hypervisor import FakeHypervisor
from tests.unit.guests import fakes
from tests.unit.guests.fakes import START, Clock

from berth_agent.guests.healths import Healths
from berth_agent.guests.information import Guests
from berth_agent.guests.lookouts import GuestLookout
from berth_agent.guests.presences import LINGER, Presences
from berth_agent.guests.questions import Questions
from berth_agent.reconcile.plan.observed import Observed, Power
from berth_api.virtualmachines import VirtualMachine

pytestmark = pytest.mark.looptime


@pytest.fixture
def told() -> list[str]:
    """Whose agents were told to be gone."""
    return []


@pytest.fixture
async def presences(told: list[str]) -> AsyncIterator[Presences]:
    made = Presences(told.append)
    yield made
    made.close()


async def test_it_counts_as_seen_at_first(presences: Presences) -> None:
    assert not presences.counts("u1")
    presences.see("u1", connected=False)
    assert not presences.counts("u1")
    presences.see("u1", connected=True)
    assert presences.counts("u1")


async def test_a_port_that_closes_and_opens_again_is_no_news(presences: Presences, told: list[str]) -> None:
    for _ in range(100):
        presences.see("u1", connected=True)
        await asyncio.sleep(1)
        presences.see("u1", connected=False)
        await asyncio.sleep(LINGER - 2)
        assert presences.counts("u1")
    assert told == []


async def test_one_that_stays_away_is_gone_after_a_while_and_told_of_once(
    presences: Presences, told: list[str]
) -> None:
    presences.see("u1", connected=True)
    for _ in range(20):
        presences.see("u1", connected=False)
        await asyncio.sleep(10)
    assert told == ["u1"]
    assert not presences.counts("u1")


async def test_a_guest_may_come_and_go_for_months(presences: Presences, told: list[str]) -> None:
    for _ in range(1100):
        presences.see("u1", connected=True)
        presences.see("u1", connected=False)
        await asyncio.sleep(601)
    assert len(told) == 1100


@pytest.mark.parametrize("times", [1, 2, 6])
async def test_each_time_it_takes_longer_up_to_ten_minutes(presences: Presences, told: list[str], times: int) -> None:
    for linger in (60, 120, 240, 480, 600, 600)[:times]:
        presences.see("u1", connected=True)
        presences.see("u1", connected=False)
        await asyncio.sleep(linger - 1)
        assert presences.counts("u1")
        await asyncio.sleep(2)
        assert not presences.counts("u1")
    assert len(told) == times


async def test_a_guest_that_was_forgotten_is_not_told_of(presences: Presences, told: list[str]) -> None:
    presences.see("u1", connected=True)
    presences.see("u1", connected=False)
    presences.forget("u1")
    await asyncio.sleep(2 * LINGER)
    assert told == []
    assert not presences.counts("u1")


async def test_what_is_reported_is_what_counts(presences: Presences) -> None:
    clock = Clock()
    questions = Questions(FakeHypervisor(), fakes.Guests(clock), asyncio.get_running_loop().time)
    lookout = GuestLookout(
        Healths(questions, clock, lambda _: None, lambda: 0.0),
        Guests(FakeHypervisor(), lambda _: None, lambda: 0.0),
        presences,
    )
    machine = VirtualMachine.from_api({"metadata": {"name": "web", "namespace": "d", "uid": "u1"}, "spec": {}})
    here = Observed(power=Power.RUNNING, started_at=START, guest_agent_connected=True)
    away = Observed(power=Power.RUNNING, started_at=START)
    seen = []
    for observed, pause in ((here, 1), (away, 1), (here, 1), (away, LINGER + 1), (away, 1)):
        lookout.watch(machine, observed)
        seen.append(lookout.add("u1", observed).guest_agent_connected)
        await asyncio.sleep(pause)
    assert seen == [True, True, True, True, False]
    lookout.forget("u1")
    assert not presences.counts("u1")
    await lookout.close()
