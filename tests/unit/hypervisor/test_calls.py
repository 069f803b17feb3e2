"""A call that blocks is waited for until its deadline, and no longer; what hangs takes nobody else's place."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from berth_agent.hypervisor.calls import BlockingCalls
from berth_agent.hypervisor.errors import DeadlineExceeded


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets every hanging call go on; set at the end at the latest."""
    event = threading.Event()
    yield event
    event.set()


def calls(concurrency: int = 1, *, hold: bool = False) -> BlockingCalls:
    return BlockingCalls(concurrency, late_calls_hold_places=hold)


async def until_none_is_late(blocking: BlockingCalls) -> None:
    async with asyncio.timeout(5):
        while blocking.late:  # noqa: ASYNC110 - a thread's end sets no event that asyncio knows
            await asyncio.sleep(0.001)


async def test_the_result_is_the_functions() -> None:
    assert await calls().run(divmod, 7, 2, deadline=5) == (3, 1)


async def test_the_error_is_the_functions() -> None:
    with pytest.raises(ZeroDivisionError):
        await calls().run(divmod, 7, 0, deadline=5)


async def test_a_late_call_is_told_by_its_name_and_counted_until_it_ends(release: threading.Event) -> None:
    blocking = calls()

    def hang() -> None:
        release.wait(10)

    with pytest.raises(DeadlineExceeded, match=r"hang within 0\.01 s"):
        await blocking.run(hang, deadline=0.01)
    assert blocking.late == 1
    release.set()
    await until_none_is_late(blocking)


async def test_a_late_call_takes_nobodys_place(release: threading.Event) -> None:
    blocking = calls()
    with pytest.raises(DeadlineExceeded):
        await blocking.run(release.wait, 10, deadline=0.01)
    assert await blocking.run(abs, -1, deadline=5) == 1


async def test_a_late_call_keeps_its_place_where_there_must_be_only_one(release: threading.Event) -> None:
    blocking = calls(hold=True)
    with pytest.raises(DeadlineExceeded):
        await blocking.run(release.wait, 10, deadline=0.01)
    with pytest.raises(DeadlineExceeded):
        await blocking.run(abs, -1, deadline=0.01)
    release.set()
    assert await blocking.run(abs, -1, deadline=5) == 1


async def test_places_are_given_back_once_only(release: threading.Event) -> None:
    """Or each late call that ends would allow one more at once."""
    blocking = calls()
    with pytest.raises(DeadlineExceeded):
        await blocking.run(release.wait, 10, deadline=0.01)
    release.set()
    await until_none_is_late(blocking)
    second = threading.Event()
    first = asyncio.create_task(blocking.run(second.wait, 10, deadline=5))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded):
        await blocking.run(abs, -1, deadline=0.01)
    second.set()
    await first


async def test_what_hangs_is_not_tried_again_and_again(release: threading.Event) -> None:
    blocking = calls(4)
    with pytest.raises(DeadlineExceeded):
        await blocking.run(release.wait, 10, deadline=0.01, subject="a")
    for _ in range(20):
        with pytest.raises(DeadlineExceeded, match="earlier call about a"):
            await blocking.run(abs, -1, deadline=5, subject="a")
    assert blocking.late == 1
    assert await blocking.run(abs, -1, deadline=5, subject="b") == 1
    release.set()
    await until_none_is_late(blocking)
    assert await blocking.run(abs, -1, deadline=5, subject="a") == 1


async def test_a_cancelled_call_is_left_behind(release: threading.Event) -> None:
    blocking = calls()
    task = asyncio.create_task(blocking.run(release.wait, 10, deadline=5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert blocking.late == 1


async def test_a_result_that_comes_late_is_discarded(release: threading.Event) -> None:
    blocking = calls()
    taken: list[str] = []

    def open_late() -> str:
        release.wait(10)
        return "opened"

    with pytest.raises(DeadlineExceeded):
        await blocking.run(open_late, deadline=0.01, discard=taken.append)
    release.set()
    async with asyncio.timeout(5):
        while not taken:  # noqa: ASYNC110 - a thread's end sets no event that asyncio knows
            await asyncio.sleep(0.001)
    assert taken == ["opened"]
