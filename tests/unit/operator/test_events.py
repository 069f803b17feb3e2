"""Events: said once, never in the way."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.fakes.api import FakeApi
from tests.unit.operator.worlds import vm_body

from berth_api import kinds
from berth_api.client import Unavailable
from berth_api.kinds import Kind
from berth_api.virtualmachines import VirtualMachine
from berth_operator.events import MAX_NOTE, Events

pytestmark = pytest.mark.looptime


def vm(name: str = "web") -> VirtualMachine:
    body = vm_body(name)
    body["metadata"]["uid"] = f"uid-{name}"
    return VirtualMachine.from_api(body)


def events(api: FakeApi, backlog: int = 10) -> Events:
    return Events(api, instance="test", now=lambda: datetime(2026, 1, 1, tzinfo=UTC), backlog=backlog)


async def sent(one: Events) -> None:
    task = asyncio.create_task(one.run())
    await asyncio.sleep(1)
    task.cancel()


async def test_the_same_thing_is_said_once_until_something_else_was_said() -> None:
    api = FakeApi()
    one = events(api)
    for note in ("a", "a", "b", "a"):
        one.tell(vm(), "Warning", "FailedScheduling", note)
    await sent(one)
    assert [call.body["note"] for call in api.writes] == ["a", "b", "a"]


async def test_an_event_points_to_its_vm() -> None:
    api = FakeApi()
    one = events(api)
    one.tell(vm(), "Normal", "Scheduled", "bound to node node-1")
    await sent(one)
    body = api.writes[0].body
    assert body["regarding"]["uid"] == "uid-web"
    assert (body["reportingController"], body["action"], body["type"]) == (
        "berth.dev/berth-operator",
        "Scheduling",
        "Normal",
    )
    assert body["eventTime"] == "2026-01-01T00:00:00.000000Z"


async def test_a_server_that_fails_loses_one_event_and_no_more() -> None:
    api = FakeApi()
    api.fail(Unavailable(503, "", "away"), verb="create")
    one = events(api)
    one.tell(vm("a"), "Normal", "Scheduled", "x")
    one.tell(vm("b"), "Normal", "Scheduled", "x")
    await sent(one)
    assert len(api.writes) == 2
    assert len((await api.list(kinds.EVENT)).items) == 1


async def test_too_many_events_are_dropped_not_piled_up(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    one = events(api, backlog=2)
    for number in range(5):
        one.tell(vm(str(number)), "Normal", "Scheduled", "x")
    await sent(one)
    assert len(api.writes) == 2
    assert "dropped" in caplog.text


async def test_a_long_note_is_cut_to_what_the_server_takes_without_breaking_a_character() -> None:
    api = FakeApi()
    one = events(api)
    one.tell(vm(), "Normal", "Scheduled", "ä" * 2000)
    await sent(one)
    assert len(api.writes[0].body["note"].encode()) <= MAX_NOTE


async def test_what_waits_when_the_process_ends_is_sent_first_each_once() -> None:
    api = FakeApi()
    one = events(api, backlog=100)
    for number in range(40):
        one.tell(vm(f"vm-{number}"), "Normal", "Scheduled", "bound")
    task = asyncio.create_task(one.run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await one.flush(5)
    assert sorted(call.body["regarding"]["name"] for call in api.writes) == sorted(f"vm-{n}" for n in range(40))


async def test_the_one_that_was_being_sent_is_sent_again_under_its_own_name() -> None:
    """Its answer was lost: the server may have it already, and then it is not told twice."""
    api = FakeApi()
    one = Events(api, instance="test", now=lambda: datetime(2026, 1, 1, tzinfo=UTC), busy=lambda: True)
    one.tell(vm(), "Normal", "Scheduled", "bound")
    task = asyncio.create_task(one.run())
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert api.writes == []
    await one.flush(5)
    assert len(api.writes) == 1


async def test_a_server_that_hangs_does_not_keep_the_process_from_ending() -> None:
    class Hanging(FakeApi):
        async def create(self, kind: Kind, body: dict[str, Any], namespace: str = "") -> dict[str, Any]:
            await asyncio.Event().wait()
            return await super().create(kind, body, namespace)

    one, loop = events(Hanging()), asyncio.get_running_loop()
    one.tell(vm(), "Normal", "Scheduled", "bound")
    begun = loop.time()
    await one.flush(5)
    assert loop.time() - begun == pytest.approx(5)
