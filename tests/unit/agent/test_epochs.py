"""One question for the epoch serves all who asked before it was sent, and nobody who asked later."""

import asyncio

import pytest
from tests.fakes.api import FakeApi

from berth_agent.reconcile.epochs import Epochs
from berth_api.client import Unavailable
from berth_api.kinds import LEASE


def lease(epoch: int) -> dict[str, object]:
    return {"metadata": {"name": "berth-operator", "namespace": "ns"}, "spec": {"leaseTransitions": epoch}}


async def test_those_who_ask_together_are_answered_by_one_question() -> None:
    api = FakeApi()
    api.add(LEASE, lease(4))
    epochs = Epochs(api, "ns")
    assert await asyncio.gather(*(epochs.current() for _ in range(5))) == [4] * 5
    assert len([call for call in api.calls if call.verb == "get"]) == 1


async def test_who_asks_later_gets_a_later_answer() -> None:
    api = FakeApi()
    epochs = Epochs(api, "ns")
    assert await epochs.current() == 0
    api.add(LEASE, lease(7))
    first = asyncio.ensure_future(epochs.current())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    api.add(LEASE, lease(8))
    assert await epochs.current() == 8
    assert await first in (7, 8)


async def test_a_question_without_an_answer_fails_those_who_asked_and_not_the_next() -> None:
    api = FakeApi()
    api.add(LEASE, lease(4))
    api.fail(Unavailable(503, "", "down"), verb="get")
    epochs = Epochs(api, "ns")
    with pytest.raises(Unavailable):
        await epochs.current()
    assert await epochs.current() == 4


async def test_who_gives_up_does_not_take_the_answer_from_others() -> None:
    api = FakeApi()
    api.add(LEASE, lease(4))
    epochs = Epochs(api, "ns")
    impatient, patient = asyncio.ensure_future(epochs.current()), asyncio.ensure_future(epochs.current())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == 4
