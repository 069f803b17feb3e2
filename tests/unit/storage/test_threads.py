"""Cancelling who waits for a thread: the thread's files stay until it has ended."""

import asyncio
import threading

import pytest

from berth_agent.storage.threads import run_in_thread


async def test_a_cancelled_caller_waits_for_its_thread_however_often_it_is_cancelled() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(20)
        ended.set()

    waiting = asyncio.create_task(run_in_thread(work))
    await asyncio.to_thread(begun.wait, 20)
    for _ in range(3):
        waiting.cancel()
        await asyncio.wait({waiting}, timeout=0.01)
    assert not waiting.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_what_the_function_raises_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 / 0)
    assert await run_in_thread(divmod, 7, 2) == (3, 1)
