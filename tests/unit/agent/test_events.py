"""The agent's Events: in the node's own name, in the background, and ever fewer about a VM that is ever new."""

import asyncio
from datetime import UTC, datetime

import pytest
from tests.fakes.api import FakeApi

from berth_agent.node.events import Events
from berth_agent.reconcile.plan.tellings import Telling
from berth_api.virtualmachines import VirtualMachine

pytestmark = pytest.mark.looptime


def vm(name: str = "web") -> VirtualMachine:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
    return VirtualMachine.from_api({"metadata": metadata, "spec": {"className": "small"}})


def events(api: FakeApi, backlog: int = 1000) -> Events:
    loop = asyncio.get_running_loop()
    return Events(
        api, node_name="node-1", now=lambda: datetime(2026, 1, 1, tzinfo=UTC), clock=loop.time, backlog=backlog
    )


async def sent(one: Events, seconds: float) -> None:
    task = asyncio.create_task(one.run())
    await asyncio.sleep(seconds)
    task.cancel()


async def test_an_event_is_told_in_the_name_that_the_policy_asks_for() -> None:
    api = FakeApi()
    one = events(api)
    one.tell_all(vm(), (Telling("Normal", "Started", "the guest was started"),))
    await sent(one, 1)
    body = api.writes[0].body
    assert (body["reportingController"], body["reportingInstance"]) == ("berth.dev/berth-agent", "node-1")
    assert (body["type"], body["reason"], body["note"]) == ("Normal", "Started", "the guest was started")
    assert (body["regarding"]["name"], body["regarding"]["uid"]) == ("web", "uid-web")
    assert api.writes[0].namespace == "default"


async def test_thirty_vms_that_start_at_once_leave_the_api_server_to_others() -> None:
    api = FakeApi()
    one = events(api)
    for number in range(30):
        one.tell(vm(str(number)), "Normal", "Started", "x")
    await sent(one, 1.05)
    assert len(api.writes) == 10


async def test_a_crash_loop_is_heard_ever_less_and_others_as_before() -> None:
    api = FakeApi()
    one = events(api)
    for attempt in range(100):
        one.tell(vm(), "Warning", "BackOff", f"attempt {attempt}")
    one.tell(vm("other"), "Normal", "Started", "x")
    await sent(one, 60)
    assert [call.body["note"] for call in api.writes] == [*(f"attempt {number}" for number in range(25)), "x"]
    await asyncio.sleep(600)
    for attempt in range(100, 110):
        one.tell(vm(), "Warning", "BackOff", f"attempt {attempt}")
    await sent(one, 60)
    assert [call.body["note"] for call in api.writes[26:]] == ["attempt 100", "attempt 101"]
