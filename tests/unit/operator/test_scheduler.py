"""The scheduler among the races: users, nodes and other objects that change while it reads, decides and writes."""

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.unit.operator.gates import SECRET, GatedWorld, add_secret, urgent
from tests.unit.operator.worlds import vm_body

from berth_api import kinds
from berth_api.client import DeadlineExceeded, Unavailable
from berth_api.kinds import VIRTUAL_MACHINE
from berth_operator.scheduling.entries import State
from berth_operator.scheduling.plugins import Score
from berth_operator.scheduling.profiles import Profile, build_profiles

pytestmark = pytest.mark.looptime
LOST = Unavailable(0, "", "connection reset")
HALF: dict[str, Any] = {"cpu": {"cores": 9}}
"""More than half of a node's 16 CPUs after overcommit: two do not fit."""


@pytest.mark.parametrize("error", [LOST, DeadlineExceeded(0, "", "too slow")])
@pytest.mark.parametrize("written", [False, True])
async def test_a_vm_that_is_halted_before_the_outcome_of_its_binding_is_known(
    error: Exception, *, written: bool
) -> None:
    world = GatedWorld()
    world.add_node("node-1")
    async with world.leading():
        world.add_vm("web")
        world.api.fail(error, verb="apply", kind=VIRTUAL_MACHINE, after=written)
        asking = world.api.hold("get", VIRTUAL_MACHINE, "web")
        await world.refresh()
        await asking.reached()
        assert len(world.operation.ledger) == 1
        await world.halt("web")
        await world.refresh()
        asking.open()
        await asyncio.sleep(5)
        assert world.leftovers() == (int(written), 0)
        claim = world.vm("web").status.claim
        assert (claim is not None) == written
        if claim is not None:
            await world.agent("web", admittedClaim=claim.id, releasedClaim=claim.id, phase="Stopped")
            await world.settle()
        assert world.leftovers() == (0, 0)
        assert (world.snapshot.free_cpu == world.snapshot.cpu).all()


@pytest.mark.parametrize("written", [False, True])
async def test_a_vm_that_is_halted_between_a_lost_answer_and_the_question_about_it(*, written: bool) -> None:
    world = GatedWorld(backoff_first=5.0)
    world.add_node("node-1")
    async with world.leading():
        world.add_vm("web")
        world.api.fail(LOST, verb="apply", kind=VIRTUAL_MACHINE, after=written)
        await world.settle(0.1)
        assert world.operation.scheduler.queue.state(("default", "web")) is State.BACKOFF
        await world.halt("web")
        await world.settle(20)
        assert world.leftovers() == (int(written), 0)
        claim = world.vm("web").status.claim
        if claim is not None:
            await world.agent("web", admittedClaim=claim.id, releasedClaim=claim.id, phase="Stopped")
            await world.settle()
        assert world.leftovers() == (0, 0)


async def test_a_vm_that_vanishes_while_its_secret_is_read_holds_nothing() -> None:
    world = GatedWorld()
    world.add_node("node-1")
    add_secret(world)
    async with world.leading():
        world.add_vm("web", cloudInit=SECRET)
        reading = world.api.hold("get", kinds.SECRET, "s")
        world.api.fail(LOST, verb="apply", kind=VIRTUAL_MACHINE, times=10)
        await world.refresh()
        await reading.reached()
        world.api.remove(VIRTUAL_MACHINE, "web", "default")
        await world.refresh()
        reading.open()
        await asyncio.sleep(5)
        assert world.status_writes() == []
        assert world.leftovers() == (0, 0)


async def test_a_vm_that_is_made_anew_while_the_secret_of_the_former_is_read_is_bound_at_once() -> None:
    world = GatedWorld()
    world.add_node("node-1")
    add_secret(world)
    async with world.leading():
        world.add_vm("web", cloudInit=SECRET)
        reading = world.api.hold("get", kinds.SECRET, "s")
        await world.refresh()
        await reading.reached()
        world.api.remove(VIRTUAL_MACHINE, "web", "default")
        world.add_vm("web")
        await world.settle(1)
        reading.open()
        await asyncio.sleep(1)
        assert world.vm("web").status.node_name == "node-1"
        assert world.leftovers() == (1, 0)


async def test_a_vm_that_is_changed_while_its_secret_is_read_and_then_rejected_is_tried_again_at_once() -> None:
    world = GatedWorld()
    world.add_node("node-1")
    add_secret(world)
    async with world.leading():
        world.add_vm("web", cloudInit=SECRET, memory={"size": "1Ti"})
        reading = world.api.hold("get", kinds.SECRET, "s")
        await world.refresh()
        await reading.reached()
        await world.set_field(VIRTUAL_MACHINE, "web", "/spec/cpu/cores", 2)
        await world.settle(1)
        reading.open()
        await asyncio.sleep(1)
        assert world.operation.scheduler.queue.state(("default", "web")) is State.PARKED
        assert world.why("web")[0] == "Unschedulable"


@pytest.mark.parametrize("again", [False, True])
async def test_a_vm_that_vanishes_while_it_is_bound_holds_nothing(*, again: bool) -> None:
    world = GatedWorld()
    world.add_node("node-1")
    async with world.leading():
        world.add_vm("web")
        writing = world.api.hold("apply", VIRTUAL_MACHINE, "web")
        world.api.fail(LOST, verb="apply", kind=VIRTUAL_MACHINE)
        await world.refresh()
        await writing.reached()
        world.api.remove(VIRTUAL_MACHINE, "web", "default")
        if again:
            world.add_vm("web")
        await world.refresh()
        writing.open()
        await asyncio.sleep(5)
        assert world.leftovers() == (int(again), 0)
        assert world.operation._binding._unsure == {}
        assert world.bound() == ["web"] * (1 + again)


async def test_a_cancelled_wait_in_a_binding_does_not_leave_the_vm_in_flight() -> None:
    world = GatedWorld()
    world.add_node("node-1")
    async with world.leading():
        world.add_vm("web")
        writing = world.api.hold("apply", VIRTUAL_MACHINE, "web")
        await world.refresh()
        await writing.reached()
        writing.cancel()
        await asyncio.sleep(5)
        assert world.vm("web").status.node_name == "node-1"
        assert world.leftovers() == (1, 0)


@pytest.mark.parametrize("steps", range(5))
@pytest.mark.parametrize("spec", [{}, {"cloudInit": SECRET}, {"priorityClassName": "urgent"}])
async def test_a_vm_that_comes_at_any_step_of_a_terms_end_leaves_nothing_behind(
    spec: dict[str, Any], steps: int, recwarn: pytest.WarningsRecorder
) -> None:
    world = GatedWorld()
    world.add_node("node-1")
    add_secret(world)
    term = asyncio.create_task(world.operation.lead(world.leadership))
    await asyncio.sleep(2)
    term.cancel()
    for _ in range(steps):
        await asyncio.sleep(0)
    world.operation.cluster.machines.upsert(world.api.add(VIRTUAL_MACHINE, vm_body("web", **spec)))
    with suppress(asyncio.CancelledError):
        await term
    gc.collect()
    assert list(recwarn) == []
    urgent(world)
    async with world.leading():
        assert world.vm("web").status.node_name == "node-1"
        assert world.leftovers() == (1, 0)


async def test_room_that_a_former_term_kept_is_not_kept_in_the_next() -> None:
    world = GatedWorld(reserve_after=5.0)
    world.add_node("node-1")
    world.add_vm("first", cpu={"cores": 7})
    async with world.leading():
        world.add_vm("big", cpu={"cores": 16})
        await world.settle(10)
        assert set(world.snapshot.reservations) == {"node-1"}
        world.add_vm("kept-off")
        await world.settle()
        assert world.vm("kept-off").status.node_name is None
    world.api.remove(VIRTUAL_MACHINE, "big", "default")
    async with world.leading():
        assert world.snapshot.reservations == {}
        assert world.vm("kept-off").status.node_name == "node-1"


async def test_room_is_kept_for_vms_of_the_present_term_only() -> None:
    world = GatedWorld(reserve_after=5.0)
    world.add_node("node-1")
    world.add_vm("first", cpu={"cores": 7})
    async with world.leading():
        world.add_vm("big", cpu={"cores": 16})
        await world.settle(10)
        assert set(world.snapshot.reservations) == {"node-1"}
    async with world.leading():
        world.add_vm("small")
        await world.settle()
        assert world.vm("small").status.node_name == "node-1"


async def test_equal_vms_that_their_only_node_refused_are_both_bound_once_it_may_be_asked_again() -> None:
    world = GatedWorld(refusal_exclusion=60.0, retry_parked=1e6)
    world.add_node("node-1")
    names = ("one", "two")
    for name in names:
        world.add_vm(name)
    async with world.leading():
        for name in names:
            claim = world.vm(name).status.claim
            assert claim is not None
            await world.agent(name, refusedClaim=claim.id, phase="Scheduled")
        await world.settle(5)
        assert [world.why(name)[0] for name in names] == ["Unschedulable"] * 2
        assert world.leftovers() == (0, 2)
        await asyncio.sleep(57)
        assert [world.vm(name).status.node_name for name in names] == ["node-1"] * 2
        assert world.leftovers() == (2, 0)


async def test_the_time_until_a_vm_is_bound_is_measured_from_when_it_was_first_wanted() -> None:
    world = GatedWorld()
    async with world.leading():
        world.add_vm("web")
        await world.settle(30)
        world.add_node("node-1")
        world.api.latency = 1.0
        await world.settle(5)
        assert world.metric("binding_duration_seconds_count") == 1
        assert world.metric("binding_duration_seconds_sum") == pytest.approx(31, abs=1)
        assert world.metric("attempts_total", result="bound", profile="default") == 1


async def test_a_binding_that_needs_a_second_try_counts_from_the_first() -> None:
    world = GatedWorld(backoff_first=4.0)
    world.add_node("node-1")
    async with world.leading():
        world.add_vm("web")
        world.api.fail(LOST, verb="apply", kind=VIRTUAL_MACHINE)
        world.api.fail(LOST, verb="get", kind=VIRTUAL_MACHINE)
        await world.settle(60)
        assert world.vm("web").status.node_name == "node-1"
        assert world.metric("binding_duration_seconds_count") == 1
        assert world.metric("binding_duration_seconds_sum") > 4


async def test_a_network_that_has_no_address_left_wakes_its_vms_when_it_is_widened() -> None:
    world = GatedWorld(cidr="10.7.0.0/30", retry_parked=1e6)
    world.add_node("node-1")
    world.add_vm("one")
    async with world.leading():
        for name in ("two", "three"):
            world.add_vm(name)
        await world.settle(10)
        assert {world.why(name)[0] for name in ("two", "three")} == {"NoFreeAddress"}
        await world.set_field(kinds.VIRTUAL_NETWORK, "lan", "/spec/subnets/0/cidr", "10.7.0.0/24", "")
        await world.settle(0.2)
        assert [world.vm(name).status.node_name for name in ("two", "three")] == ["node-1"] * 2


LEAVING = pytest.mark.parametrize("leave", [GatedWorld.halt, GatedWorld.delete], ids=["halted", "deleted"])
Leave = Callable[[GatedWorld, str], Any]


@LEAVING
@pytest.mark.parametrize(
    ("spec", "reason"),
    [(HALF, "Unschedulable"), ({"priorityClassName": "urgent"}, "PriorityClassNotFound")],
    ids=["parked", "aside"],
)
async def test_a_vm_that_leaves_while_it_waits_is_never_bound(leave: Leave, spec: dict[str, Any], reason: str) -> None:
    world = GatedWorld()
    world.add_node("node-1")
    world.add_vm("first", **HALF)
    async with world.leading():
        world.add_vm("web", **spec)
        await world.settle()
        assert world.why("web")[0] == reason
        await leave(world, "web")
        urgent(world)
        world.add_node("node-2")
        await world.settle(600)
        assert world.bound() == ["first"]
        assert world.leftovers() == (1, 0)


@LEAVING
@pytest.mark.parametrize("seen", [False, True])
async def test_a_vm_that_leaves_while_it_is_bound_is_never_bound(leave: Leave, *, seen: bool) -> None:
    world = GatedWorld()
    world.add_node("node-1")
    async with world.leading():
        world.add_vm("web")
        writing = world.api.hold("apply", VIRTUAL_MACHINE, "web")
        await world.refresh()
        await writing.reached()
        await leave(world, "web")
        if seen:
            await world.refresh()
        writing.open()
        await world.settle(10)
        body = world.api.peek(VIRTUAL_MACHINE, "web", "default")
        assert body is None or "claim" not in body["status"]
        assert world.leftovers() == (0, 0)
        assert (world.snapshot.free_cpu == world.snapshot.cpu).all()


async def test_whoever_comes_later_with_a_higher_priority_is_next_however_slow_the_server() -> None:
    world = GatedWorld(writes_in_flight=1)
    world.add_node("node-1")
    urgent(world)
    world.api.latency = 1.0
    async with world.leading():
        for number in range(4):
            world.add_vm(f"low-{number}")
        await world.settle(1.5)
        world.add_vm("high", priorityClassName="urgent")
        await world.settle(6)
        assert world.bound() == ["low-0", "low-1", "high", "low-2", "low-3"]


async def test_a_priority_class_that_appears_changes_whose_turn_it_is() -> None:
    world = GatedWorld(writes_in_flight=1)
    world.add_node("node-1")
    world.api.latency = 1.0
    async with world.leading():
        for number in range(4):
            world.add_vm(f"low-{number}")
        world.add_vm("pressing", priorityClassName="urgent")
        await world.settle(1.5)
        urgent(world)
        await world.settle(6)
        assert world.bound() == ["low-0", "low-1", "pressing", "low-2", "low-3"]


async def test_a_rejected_vm_is_told_of_new_reasons_now_and_then_and_of_old_ones_never() -> None:
    world = GatedWorld(retell=30.0)
    world.add_node("node-0")
    async with world.leading():
        world.add_vm("huge", memory={"size": "1Ti"})
        await world.settle(0.5)
        assert "0/1 nodes" in world.why("huge")[1]
        for number in range(1, 21):
            world.add_node(f"node-{number}")
            await world.settle(3)
        assert world.attempts_at("huge") == 1 + 60 // 30
        await world.settle(30)
        assert "0/21 nodes" in world.why("huge")[1]
        before = len(world.api.writes)
        for _ in range(30):
            await world.beat("node-1")
            await world.settle(30)
        assert [call for call in world.api.writes[before:] if call.kind != "Lease"] == []


def _raise(*_: Any) -> None:
    raise ZeroDivisionError("a bug in a score")


async def test_a_bug_in_the_decision_about_one_vm_leaves_the_others_going(caplog: pytest.LogCaptureFixture) -> None:
    profiles = build_profiles(())
    broken = Profile("broken", profiles["default"].filters, ((1.0, Score("Broken", _raise)),))
    world = GatedWorld(profiles={**profiles, "broken": broken})
    world.add_node("node-1")
    world.add_node("node-2")
    async with world.leading():
        for number in range(6):
            world.add_vm(f"vm-{number}", **({"schedulerProfile": "broken"} if number % 2 == 0 else {}))
        world.add_vm("secret", cloudInit=SECRET, schedulerProfile="broken")
        add_secret(world)
        await world.settle(20)
        assert sorted(world.bound()) == ["vm-1", "vm-3", "vm-5"]
        assert len(world.operation.ledger) == 3
        assert {record.exc_info[0] for record in caplog.records if record.exc_info} == {ZeroDivisionError}
        assert 4 * 3 < len(caplog.records) < 4 * 20
