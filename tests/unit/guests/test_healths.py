"""Probes are asked when they are due, for as long as their guest runs, and tell only what is news."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.guests.fakes import LINK, LINKS, START, Clock, Guests, vm_with

from berth_agent.guests.connectors import CannotAsk, ConnectFailed
from berth_agent.guests.healths import Healths
from berth_agent.guests.probing import ProbeKind
from berth_agent.guests.questions import Questions
from berth_agent.hypervisor.errors import DeadlineExceeded, Unavailable

pytestmark = pytest.mark.looptime
PING: dict[str, Any] = {"guestAgentPing": {}}
TCP: dict[str, Any] = {"tcpSocket": {"port": 80}}


@dataclass
class World:
    guests: Guests
    healths: Healths
    changed: list[tuple[float, str]]


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    clock = Clock()
    guests, changed = Guests(clock), list[tuple[float, str]]()
    healths = Healths(
        Questions(guests, guests, asyncio.get_running_loop().time, pings=2),
        clock,
        lambda uid: changed.append((clock.passed, uid)),
        jitter=lambda: 0.5,
    )
    try:
        yield World(guests, healths, changed)
    finally:
        await healths.close()
        assert healths.tasks == 0
        assert not [task for task in asyncio.all_tasks() if " of " in task.get_name()]


async def test_a_guest_is_asked_after_its_initial_delay_and_then_every_period() -> None:
    async with world() as it:
        it.healths.watch(vm_with(livenessProbe={**PING, "initialDelaySeconds": 7, "periodSeconds": 5}), START, LINKS)
        await asyncio.sleep(20)
        assert it.guests.asked["u1"] == [7, 12, 17]
        assert (it.healths.live("u1"), it.healths.ready("u1"), it.changed) == (True, None, [])


async def test_watching_again_changes_nothing() -> None:
    async with world() as it:
        for _ in range(20):
            it.healths.watch(vm_with(livenessProbe={**PING, "periodSeconds": 5}), START, dict(LINKS))
            await asyncio.sleep(0.9)
        assert it.guests.asked["u1"] == [0, 5, 10, 15]


async def test_a_guest_is_ready_from_its_first_success_on_and_not_after_three_failures() -> None:
    async with world() as it:
        it.guests.error = ConnectFailed("port 80 of 10.0.0.5 refused")
        it.healths.watch(vm_with(readinessProbe=TCP), START, LINKS)
        await asyncio.sleep(15)
        assert it.healths.ready("u1") is False
        assert it.healths.why("u1", ProbeKind.READINESS) == "the readiness probe has not succeeded yet"
        it.guests.error = None
        await asyncio.sleep(10)
        assert (it.healths.ready("u1"), it.changed) == (True, [(20, "u1")])
        it.guests.error = ConnectFailed("port 80 of 10.0.0.5 refused")
        await asyncio.sleep(20)
        assert it.healths.ready("u1") is True
        await asyncio.sleep(60)
        assert it.healths.ready("u1") is False
        assert it.changed == [(20, "u1"), (50, "u1")]
        assert it.healths.why("u1", ProbeKind.READINESS) == "the readiness probe failed: port 80 of 10.0.0.5 refused"
        assert it.guests.connected[0] == (LINK, "10.0.0.5/24", 80, 1.0)


async def test_a_guest_that_fails_its_liveness_probe_is_not_asked_until_it_is_started_again() -> None:
    async with world() as it:
        it.guests.agent_gone()
        vm = vm_with(livenessProbe=PING)
        it.healths.watch(vm, START, LINKS)
        await asyncio.sleep(300)
        it.guests.error = None
        it.healths.watch(vm, START, LINKS)
        await asyncio.sleep(60)
        assert (it.guests.asked["u1"], it.healths.live("u1"), it.healths.tasks) == ([0, 10, 20], False, 0)
        assert it.changed == [(20, "u1")]
        assert (
            it.healths.why("u1", ProbeKind.LIVENESS) == "the liveness probe failed: the guest's agent does not answer"
        )

        it.healths.watch(vm, START + timedelta(seconds=360), LINKS)
        await asyncio.sleep(1)
        assert (it.healths.live("u1"), it.guests.asked["u1"][3:]) == (True, [360])
        assert it.healths.why("u1", ProbeKind.LIVENESS) == ""


@pytest.mark.parametrize("error", [Unavailable("away"), DeadlineExceeded("hangs"), CannotAsk("the tap is gone")])
async def test_what_is_the_nodes_fault_fails_no_probe(error: Exception) -> None:
    async with world() as it:
        it.guests.error = error
        probe = TCP if isinstance(error, CannotAsk) else PING
        it.healths.watch(vm_with(livenessProbe=probe), START, LINKS)
        await asyncio.sleep(300)
        assert len(it.guests.asked["10.0.0.5/24" if probe is TCP else "u1"]) == 30
        assert (it.healths.live("u1"), it.changed) == (True, [])


async def test_an_agent_that_answers_too_late_has_failed() -> None:
    async with world() as it:
        it.guests.takes = 2
        it.healths.watch(vm_with("u1", livenessProbe={**PING, "timeoutSeconds": 1}), START, LINKS)
        it.healths.watch(vm_with("u2", livenessProbe={**PING, "timeoutSeconds": 3}), START, LINKS)
        await asyncio.sleep(60)
        assert (it.healths.live("u1"), it.healths.live("u2")) == (False, True)


async def test_agents_are_pinged_a_few_at_once_and_waiting_for_a_turn_is_no_failure() -> None:
    async with world() as it:
        it.guests.takes = 0.9
        for number in range(12):
            it.healths.watch(vm_with(f"u{number}", livenessProbe={**PING, "failureThreshold": 1}), START, LINKS)
        await asyncio.sleep(100)
        assert it.guests.at_once == 2
        assert all(it.healths.live(f"u{number}") for number in range(12))
        assert {len(times) for times in it.guests.asked.values()} <= {10, 11}


async def test_a_paused_guest_is_not_asked_and_keeps_its_verdicts() -> None:
    async with world() as it:
        vm = vm_with(readinessProbe=TCP)
        it.healths.watch(vm, START, LINKS)
        await asyncio.sleep(5)
        it.healths.watch(vm, START, LINKS, paused=True)
        it.guests.error = ConnectFailed("silence")
        await asyncio.sleep(500)
        assert (it.healths.ready("u1"), it.guests.asked["10.0.0.5/24"]) == (True, [0])
        it.healths.watch(vm, START, LINKS)
        await asyncio.sleep(10)
        assert it.guests.asked["10.0.0.5/24"] == [0, 510]


async def test_a_forgotten_guest_is_not_heard_any_more() -> None:
    async with world() as it:
        it.guests.takes, it.guests.error = 0.5, ConnectFailed("silence")
        it.healths.watch(vm_with(readinessProbe=TCP, livenessProbe={**TCP, "failureThreshold": 1}), START, LINKS)
        await asyncio.sleep(0.2)
        it.healths.forget("u1")
        await asyncio.sleep(60)
        assert (it.healths.live("u1"), it.healths.ready("u1"), it.changed) == (None, None, [])
        assert len(it.guests.asked["10.0.0.5/24"]) == 2
        assert it.healths.why("u1", ProbeKind.LIVENESS) == ""


async def test_a_probe_that_is_taken_away_is_forgotten_and_one_that_changes_begins_anew() -> None:
    async with world() as it:
        it.healths.watch(vm_with(livenessProbe={**PING, "periodSeconds": 5}), START, LINKS)
        await asyncio.sleep(6)
        it.healths.watch(vm_with(livenessProbe={**PING, "periodSeconds": 20}), START, LINKS)
        await asyncio.sleep(45)
        assert it.guests.asked["u1"] == [0, 5, 6, 26, 46]
        it.healths.watch(vm_with(), START, LINKS)
        await asyncio.sleep(60)
        assert (len(it.guests.asked["u1"]), it.healths.live("u1"), it.healths.tasks) == (5, None, 0)


async def test_new_addresses_are_asked_and_the_verdict_goes_on() -> None:
    async with world() as it:
        vm = vm_with(readinessProbe=TCP)
        it.healths.watch(vm, START, {})
        await asyncio.sleep(5)
        assert "no NIC of the VM has an address" in it.healths.why("u1", ProbeKind.READINESS)
        it.healths.watch(vm, START, LINKS)
        await asyncio.sleep(10)
        assert (it.healths.ready("u1"), list(it.guests.asked)) == (True, ["10.0.0.5/24"])


async def test_a_named_nic_is_asked_or_else_the_first_one_of_the_spec() -> None:
    async with world() as it:
        nics = [{"name": "a", "networkName": "x"}, {"name": "b", "networkName": "x"}]
        links = {"b": LINK, "a": type(LINK)("bt1", "52:54:00:00:00:02", ("10.0.1.5/24",))}
        it.healths.watch(vm_with("u1", networks=nics, readinessProbe=TCP), START, links)
        named = {"tcpSocket": {"port": 81, "interface": "b"}}
        it.healths.watch(vm_with("u2", networks=nics, readinessProbe=named), START, links)
        await asyncio.sleep(1)
        assert [(address, port) for _, address, port, _ in it.guests.connected] == [
            ("10.0.1.5/24", 80),
            ("10.0.0.5/24", 81),
        ]


async def test_an_agent_that_comes_back_spreads_its_questions_and_believes_the_status() -> None:
    async with world() as it:
        status = {
            "startedAt": (START - timedelta(hours=1)).isoformat(),
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "Running",
                    "message": "",
                    "lastTransitionTime": START.isoformat(),
                }
            ],
        }
        vm = vm_with(readinessProbe=TCP, status=status)
        it.healths.watch(vm, START - timedelta(hours=1, microseconds=-5), LINKS)
        assert it.healths.ready("u1") is True
        it.healths.watch(vm, START - timedelta(minutes=1), LINKS)
        assert it.healths.ready("u1") is False
        await asyncio.sleep(6)
        assert it.guests.asked["10.0.0.5/24"] == [5]


async def test_a_guest_that_reboots_by_itself_gets_its_initial_delay_again() -> None:
    async with world() as it:
        it.healths.watch(vm_with(livenessProbe={**PING, "initialDelaySeconds": 60}), START, LINKS)
        await asyncio.sleep(65)
        it.guests.agent_gone()
        it.healths.rebooted("u1")
        await asyncio.sleep(61)
        assert it.guests.asked["u1"] == [60, 125]
        assert it.healths.live("u1") is True


async def test_a_bug_in_a_probe_is_logged_and_the_next_round_asks_again() -> None:
    async with world() as it:
        it.guests.error = ZeroDivisionError("a bug")
        vm = vm_with(livenessProbe=PING)
        it.healths.watch(vm, START, LINKS)
        await asyncio.sleep(100)
        assert (len(it.guests.asked["u1"]), it.healths.tasks) == (1, 0)
        it.guests.error = None
        it.healths.watch(vm, START, LINKS)
        await asyncio.sleep(20)
        assert len(it.guests.asked["u1"]) == 3
