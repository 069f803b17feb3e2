"""The work queue, on virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import pairwise
from random import Random

import pytest

from berth_api.client import Conflict, TooManyRequests, Unavailable
from berth_api.workqueues import Backoff, TryLater, WorkQueue

pytestmark = pytest.mark.looptime


def queue(first: float = 1.0, most: float = 8.0) -> WorkQueue[str]:
    return WorkQueue(Backoff(first, most), Random(0))


async def working(
    one: WorkQueue[str], work: Callable[[str], Awaitable[float | None]], seconds: float, workers: int = 2
) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await one.run(work, workers)


async def test_a_key_that_is_added_twice_is_worked_on_once() -> None:
    one, done = queue(), []

    async def work(key: str) -> None:
        done.append(key)

    one.add("a")
    one.add("a")
    one.add("b")
    await working(one, work, 1)
    assert done == ["a", "b"]


async def test_a_key_that_changes_while_it_is_worked_on_is_worked_on_again_but_never_twice_at_once() -> None:
    one, running, most, runs = queue(), 0, 0, 0

    async def work(_key: str) -> None:
        nonlocal running, most, runs
        running, runs = running + 1, runs + 1
        most = max(most, running)
        if runs == 1:
            one.add("a")
            one.add("a")
        await asyncio.sleep(1)
        running -= 1

    one.add("a")
    await working(one, work, 10, workers=4)
    assert (runs, most) == (2, 1)


async def test_no_more_keys_than_workers_are_worked_on_at_once() -> None:
    one, running, most = queue(), 0, 0

    async def work(_key: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1

    for number in range(10):
        one.add(str(number))
    await working(one, work, 10, workers=3)
    assert most == 3


async def test_pauses_double_up_to_the_longest_and_start_over_after_a_success() -> None:
    one, at = queue(), []
    loop = asyncio.get_running_loop()

    async def work(_key: str) -> None:
        at.append(loop.time())
        if len(at) < 7:
            raise Unavailable(503, "", "away")
        if len(at) == 7:
            one.add("a")
        if len(at) == 8:
            raise Unavailable(503, "", "away")

    one.add("a")
    await working(one, work, 100)
    pauses = [after - before for before, after in pairwise(at)]
    for pause, whole in zip(pauses, [1, 2, 4, 8, 8, 8], strict=False):
        assert whole / 2 <= pause <= whole
    assert 0.5 <= pauses[7] <= 1


async def test_a_server_that_asks_to_wait_is_given_the_time() -> None:
    one, at = queue(), []
    loop = asyncio.get_running_loop()

    async def work(_key: str) -> None:
        at.append(loop.time())
        if len(at) == 1:
            raise TooManyRequests(429, "", "slow down", retry_after=20)

    one.add("a")
    await working(one, work, 60)
    assert at[1] - at[0] >= 20


async def test_a_bug_or_a_conflict_on_one_object_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    one, done = queue(), []

    async def work(key: str) -> None:
        if key == "broken":
            raise RuntimeError("oops")
        if key == "late" and "late" not in done:
            done.append(key)
            raise Conflict(409, "Conflict", "changed")
        done.append(key)

    for key in ("broken", "late", "fine"):
        one.add(key)
    await working(one, work, 1.5)
    assert done == ["late", "fine", "late"]
    assert "oops" in caplog.text


async def test_work_may_ask_to_look_again_and_the_earliest_time_counts() -> None:
    one, at = queue(), []
    loop = asyncio.get_running_loop()

    async def work(key: str) -> float | None:
        at.append(loop.time())
        return 5.0 if key == "a" and len(at) == 1 else None

    one.add("a")
    one.add_after("b", 3.0)
    one.add_after("b", 9.0)
    await working(one, work, 20, workers=1)
    assert [round(when - at[0]) for when in at] == [0, 3, 5]


async def test_a_closed_queue_has_forgotten_everything_and_takes_nothing() -> None:
    one, done = queue(), []

    async def work(key: str) -> None:
        done.append(key)

    one.add("a")
    one.add_after("b", 1)
    one.close()
    one.add("c")
    one.add_after("d", 1)
    await working(one, work, 5)
    assert not done
    assert not len(one)
    one.open()
    one.add("e")
    await working(one, work, 5)
    assert done == ["e"]


async def test_work_that_waited_for_something_that_was_cancelled_costs_no_worker() -> None:
    one, done = queue(), []

    async def work(key: str) -> None:
        done.append(key)
        if len(done) == 1:
            lost = asyncio.get_running_loop().create_future()
            lost.cancel()
            await lost

    one.add("a")
    await working(one, work, 2, workers=1)
    assert done == ["a", "a"]


async def test_work_that_has_to_wait_is_tried_again_after_a_pause_and_is_no_bug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, at = queue(), []

    async def work(_key: str) -> None:
        at.append(asyncio.get_running_loop().time())
        if len(at) < 3:
            raise TryLater("libvirtd is away")

    one.add("a")
    await working(one, work, 10)
    assert len(at) == 3
    assert at[2] - at[1] > at[1] - at[0] > 0.4
    assert "bug" not in caplog.text


async def test_work_that_stepped_aside_lends_its_place_and_takes_one_again() -> None:
    one, done = queue(), []
    stalled, most, running = asyncio.Event(), 0, 0

    async def work(key: str) -> None:
        nonlocal most, running
        if key.startswith("slow"):
            async with one.aside(within=60):
                await stalled.wait()
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1
        done.append(key)

    for number in range(20):
        one.add(f"slow-{number}")
    for key in ("a", "b", "c"):
        one.add(key)
    asyncio.get_running_loop().call_later(10, stalled.set)
    await working(one, work, 9, workers=2)
    assert sorted(done) == ["a", "b", "c"]


async def test_those_that_come_back_together_still_keep_to_the_number_of_places() -> None:
    one, most, running, runs = queue(), 0, 0, 0
    stalled = asyncio.Event()

    async def work(_key: str) -> None:
        nonlocal most, running, runs
        async with one.aside(within=60):
            await stalled.wait()
        running, runs = running + 1, runs + 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1

    for number in range(20):
        one.add(str(number))
    asyncio.get_running_loop().call_later(1, stalled.set)
    await working(one, work, 30, workers=3)
    assert (runs, most) == (20, 3)


async def test_a_key_that_stepped_aside_is_still_worked_on_by_nobody_else() -> None:
    one, running, most, runs = queue(), 0, 0, 0

    async def work(_key: str) -> None:
        nonlocal running, most, runs
        running, runs = running + 1, runs + 1
        most = max(most, running)
        async with one.aside(within=60):
            await asyncio.sleep(5)
        running -= 1

    one.add("a")
    asyncio.get_running_loop().call_later(1, one.add, "a")
    await working(one, work, 20, workers=4)
    assert (runs, most) == (2, 1)


async def test_what_is_over_soon_never_lends_its_place() -> None:
    one, most, running = queue(), 0, 0

    async def work(_key: str) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        async with one.aside(within=60, after=2):
            await asyncio.sleep(1)
        running -= 1

    for number in range(10):
        one.add(str(number))
    await working(one, work, 20, workers=2)
    assert most == 2


@pytest.mark.parametrize("fault", [RuntimeError("a bug"), TryLater("away")])
async def test_work_that_fails_aside_gives_no_place_twice_and_loses_none(fault: Exception) -> None:
    one, most, running, failed = queue(), 0, 0, 0

    async def work(key: str) -> None:
        nonlocal most, running, failed
        if key == "failing":
            async with one.aside(within=60), one.aside(within=60):
                await asyncio.sleep(0.1)
                failed += 1
                raise fault
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1

    one.add("failing")
    for number in range(20):
        one.add_after(str(number), 20.0)
    await working(one, work, 60, workers=2)
    assert failed > 3
    assert most == 2


async def test_cancelled_work_does_not_wait_for_a_place_and_the_queue_works_again_afterwards() -> None:
    one, done = queue(), []

    async def stall(_key: str) -> None:
        async with one.aside(within=60):
            await asyncio.Event().wait()

    async def work(key: str) -> None:
        done.append(key)

    for key in ("a", "b", "c"):
        one.add(key)
    await working(one, stall, 5, workers=1)
    assert one.running == 0
    for key in ("a", "b", "c"):
        one.add(key)
    await working(one, work, 5, workers=1)
    assert done == ["a", "b", "c"]


async def test_work_that_is_cancelled_before_it_began_is_worked_on_by_the_next_run() -> None:
    one, done = queue(), []

    async def work(key: str) -> None:
        done.append(key)

    one.add("a")
    running = asyncio.create_task(one.run(work, 1))
    await asyncio.sleep(0)
    assert one.running == 1, "its task is made, and has not begun"
    running.cancel()
    await asyncio.wait({running})
    one.add("a")
    await working(one, work, 1)
    assert "a" in done
    assert one.running == 0


async def test_stepping_aside_outside_of_work_is_nothing() -> None:
    async with queue().aside(within=1):
        pass


async def test_it_says_how_long_a_key_has_waited_for_a_place() -> None:
    one = queue()

    async def work(_key: str) -> None:
        await asyncio.Event().wait()

    assert one.oldest == 0
    task = asyncio.create_task(one.run(work, 1))
    one.add("a")
    await asyncio.sleep(1)
    assert (one.oldest, one.running) == (0, 1)
    one.add("b")
    await asyncio.sleep(7)
    assert one.oldest == pytest.approx(7)
    task.cancel()


async def test_work_that_waits_to_get_its_place_back_is_not_stuck_where_others_have_it() -> None:
    one = queue()

    async def work(key: str) -> None:
        if key == "lender":
            async with one.aside(within=2):
                await asyncio.sleep(1)
        else:
            await asyncio.sleep(290)

    task = asyncio.create_task(one.run(work, 1))
    for key in ("lender", "long", "longer"):
        one.add(key)
    for _ in range(28):
        await asyncio.sleep(20)
        assert one.stuck == ()
    task.cancel()


async def test_work_past_what_it_may_take_is_said_to_be_stuck_and_aside_it_may_take_longer() -> None:
    one = queue()

    async def work(key: str) -> None:
        if key == "download":
            async with one.aside(within=6 * 3600):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(one.run(work, 4))
    one.add("download")
    one.add("hung")
    await asyncio.sleep(299)
    assert one.stuck == ()
    await asyncio.sleep(2)
    assert one.stuck == ("hung",)
    await asyncio.sleep(6 * 3600)
    assert set(one.stuck) == {"download", "hung"}
    task.cancel()
