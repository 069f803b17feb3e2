"""The promise of two operators as they are installed: whoever leads and dies is followed within 15 s, and how."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import pytest
from tests.integration.operator.contests import Contest, contest
from tests.integration.operator.crowds import create, delete, vm_body
from tests.integration.operator.waiting import eventually
from tests.integration.operator.worlds import World

from berth_api import kinds
from berth_api.fields import OPERATOR_LEASE, SYSTEM_NAMESPACE
from berth_operator.leases import LeaseTimes

pytestmark = pytest.mark.integration
PROMISED = timedelta(seconds=15)
TIMES = LeaseTimes()
INSTALLED = {
    "lease_duration": str(TIMES.duration),
    "lease_renew_deadline": str(TIMES.renew_deadline),
    "lease_retry": str(TIMES.retry),
}
"""What operators do that are told nothing about it."""


def check_promise(it: Contest) -> None:
    """The successor's Lease, and its first claim, are no later than was promised after the leader was struck."""
    assert it.struck is not None
    assert it.struck_at is not None
    assert it.followed_at is not None
    successor = it.record.terms[it.struck.epoch + 1]
    assert successor.holder == it.other
    assert successor.acquired - it.record.renewed[it.struck.epoch] <= PROMISED
    assert it.followed_at - it.struck_at <= PROMISED


def all_are_bound(it: Contest, names: frozenset[str]) -> bool:
    """Whether these VMs, and no others, are there, and each has a berth."""
    return it.record.bound.keys() == names == it.record.machines.keys()


async def test_a_leader_that_is_killed_while_it_binds_is_followed_in_time(world: World) -> None:
    async with contest(world, INSTALLED) as it:
        await it.strike(signal.SIGKILL, Random(7))
        await it.placed()
        check_promise(it)
        it.check()


async def test_a_leader_that_is_frozen_while_it_binds_is_followed_in_time_and_binds_nothing_more(world: World) -> None:
    async with contest(world, INSTALLED) as it:
        await it.strike(signal.SIGSTOP, Random(8))
        await it.record.until(lambda: len(it.claims()[1]) >= 10, 60)
        early, _ = it.claims()
        it.operators[it.victim].send_signal(signal.SIGCONT)
        await it.placed()

        async def gave_up() -> bool:
            return "lost the leadership" in world.log(it.operators[it.victim])

        await eventually(gave_up, 30)
        assert it.claims()[0] == early
        check_promise(it)
        it.check()


async def test_a_leader_that_is_told_to_end_hands_over_at_once_and_finishes_what_it_began(world: World) -> None:
    """A rolling upgrade: no VM waits for the Lease to run out, none is bound twice, each Event is there."""
    async with contest(world, INSTALLED) as it:
        await it.strike(signal.SIGTERM, Random(9))
        await it.placed()
        assert await asyncio.to_thread(it.operators[it.victim].wait, 15) == 0
        assert it.struck_at is not None
        assert it.followed_at is not None
        assert it.followed_at - it.struck_at < timedelta(seconds=TIMES.duration) - timedelta(seconds=2)
        it.check()

        async def all_told() -> bool:
            events = (await world.api.list(kinds.EVENT)).items
            told = {each["regarding"]["name"] for each in events if each["reason"] == "Scheduled"}
            assert it.record.bound.keys() <= told, it.record.bound.keys() - told
            return True

        await eventually(all_told, 30)


async def test_one_upgrade_after_the_other_loses_nothing_that_happens_meanwhile(world: World) -> None:
    """Each operator in turn is told to end and started anew, while VMs come and go."""
    async with contest(world, INSTALLED) as it:
        names = iter(range(1000))
        alive: list[str] = []
        for generation in range(3):
            more = [f"vm-{next(names):03}" for _ in range(25)]
            await create(world, map(vm_body, more[:15]))
            leader = it.record.terms[max(it.record.terms)].holder
            process = it.operators[leader]
            process.send_signal(signal.SIGTERM)
            told = datetime.now(UTC)
            await create(world, map(vm_body, more[15:]))
            gone, alive = alive[:10], [*alive[10:], *more]
            await delete(world, gone)
            assert await asyncio.to_thread(process.wait, 15) == 0
            lease = await world.api.get(kinds.LEASE, OPERATOR_LEASE, SYSTEM_NAMESPACE)
            assert lease["spec"].get("holderIdentity") != leader
            it.operators[f"{leader}-{generation}"] = world.operate(identity=f"{leader}-{generation}", **INSTALLED)
            await it.record.until(partial(all_are_bound, it, frozenset(alive)), 60)
            successor = it.record.terms[max(it.record.terms)]
            assert successor.acquired - told < timedelta(seconds=TIMES.duration)
        assert it.record.faults == []
        assert it.record.late() == []
        assert it.hollow.report.violations == []
