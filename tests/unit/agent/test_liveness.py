"""The liveness probe: whether starting the agent anew would help; and that an agent which is told to end does."""

import asyncio
import socket
import threading
from random import Random
from typing import Any

import aiohttp
import pytest
from tests.fakes.api import FakeApi

from berth_agent.cluster_view import ClusterView
from berth_agent.endings import end_within
from berth_agent.node.heartbeats import Heartbeat
from berth_agent.pages import Pages
from berth_agent.reconcile.rounds import Owner
from berth_agent.settings import AgentSettings
from berth_api.client import Unavailable
from berth_api.serving import CannotServe, serving
from berth_api.workqueues import Backoff, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heartbeat(clock: Clock) -> Heartbeat:
    return Heartbeat(FakeApi(), namespace="berth-system", node_name="n", interval=10.0, valid=40, clock=clock)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        found: int = one.getsockname()[1]
    return found


def settings(port: int, **more: Any) -> AgentSettings:
    return AgentSettings(node_name="n", liveness_url=f"http://127.0.0.1:{port}/healthz", **more)


async def test_an_agent_that_waits_for_libvirt_and_the_api_server_lives(heartbeat: Heartbeat, port: int) -> None:
    pages = Pages(heartbeat)
    which = settings(port, metrics_url=f"http://127.0.0.1:{port}/metrics")
    async with serving(pages.at(which)), aiohttp.ClientSession() as client:
        async with client.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert (answer.status, await answer.text()) == (200, "ok")
        async with client.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert "berth_agent_libvirt_up 0.0" in await answer.text()


async def test_a_heartbeat_that_the_api_server_does_not_take_is_no_reason(clock: Clock) -> None:
    api = FakeApi()
    api.fail(Unavailable(503, "", "away"), verb="get")
    beating = Heartbeat(api, namespace="s", node_name="n", interval=10.0, valid=40, clock=clock)
    clock.time = 100.0
    running = asyncio.create_task(beating.run())
    await asyncio.sleep(0.01)
    running.cancel()
    assert beating.problem() == ""
    assert beating.age == 100.0


def test_a_heartbeat_that_is_not_even_attempted_is_one(heartbeat: Heartbeat, clock: Clock) -> None:
    clock.time = 89.0
    assert heartbeat.problem() == ""
    assert heartbeat.age == 89.0
    clock.time = 91.0
    assert "none was attempted for 91 s" in Pages(heartbeat).liveness.problems()[0]


async def test_a_beat_that_was_taken_makes_the_heartbeat_young(heartbeat: Heartbeat, clock: Clock) -> None:
    clock.time = 30.0
    await heartbeat.beat()
    clock.time = 32.0
    assert heartbeat.age == 2.0


@pytest.mark.looptime
async def test_a_round_past_its_deadline_is_a_reason_and_one_that_downloads_is_none(heartbeat: Heartbeat) -> None:
    vms: WorkQueue[Owner] = WorkQueue(Backoff(), Random(1))
    pages = Pages(heartbeat)
    pages.follow(ClusterView(), vms=vms)

    async def work(owner: Owner) -> None:
        if owner.name == "download":
            async with vms.aside(within=6 * 3600.0):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    running = asyncio.create_task(vms.run(work, 2))
    vms.add(Owner("default", "download", "1"))
    await asyncio.sleep(3600)
    assert pages.liveness.problems() == ()
    vms.add(Owner("default", "hung", "2"))
    await asyncio.sleep(301)
    (problem,) = pages.liveness.problems()
    assert problem.startswith("vms: past every deadline")
    assert "hung" in problem
    running.cancel()


async def test_what_cannot_be_served_is_said(heartbeat: Heartbeat) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotServe, match=f"127.0.0.1:{port}"):
            async with serving(Pages(heartbeat).at(settings(port))):
                pytest.fail("it was served")


def test_without_urls_nothing_is_served(heartbeat: Heartbeat) -> None:
    assert Pages(heartbeat).at(AgentSettings(node_name="n")) == {}


def test_an_agent_that_does_not_end_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    ended, statuses = threading.Event(), []

    def leave(status: int) -> None:
        statuses.append(status)
        ended.set()

    end_within(0.01, leave)
    assert ended.wait(10)
    assert statuses == [0]
    assert "ending all the same" in capsys.readouterr().err


def test_one_that_ends_by_itself_is_not_waited_for() -> None:
    timer = end_within(3600.0, lambda _status: None)
    assert timer.daemon
    timer.cancel()
