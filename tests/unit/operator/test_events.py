"""Events: said once, never in the way."""

import asyncio
from datetime import UTC, datetime

import pytest
from tests.fakes.api import FakeApi
from tests.unit.operator.worlds import vm_body

from berth_api import kinds
from berth_api.client import Unavailable
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
