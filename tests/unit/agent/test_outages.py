"""libvirt away: the Hypervisor says so, keeps what was known, and says when libvirt is back."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from tests.fakes.api import FakeApi
from tests.unit.agent.conftest import NODE, AgentWorld

from berth_agent.handlers.hypervisor_events import follow
from berth_agent.handlers.intake import NODE_REPORT, Intake
from berth_agent.hypervisor.errors import DeadlineExceeded, Unavailable
from berth_agent.node.conditions import Trouble, conditions_of
from berth_agent.node.outages import OutageReporter
from berth_agent.node.reports import LOOK_AGAIN_AFTER, NodeReporter
from berth_agent.reconcile.rounds import Owner
from berth_agent.waiting import until_available
from berth_api.client import Unavailable as ApiUnavailable
from berth_api.kinds import HYPERVISOR
from berth_api.workqueues import Backoff, TryLater, WorkQueue

T0 = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def reporter(node: AgentWorld, clock: Clock) -> NodeReporter:
    made = NodeReporter(node.tools, agent_version="1.2.3", now=clock)
    await node.tools.images.start()
    await node.load()
    await made.ensure_object()
    return made


def status(api: FakeApi) -> dict[str, Any]:
    found: dict[str, Any] = (api.peek(HYPERVISOR, NODE) or {}).get("status", {})
    return found


def conditions(api: FakeApi) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status(api).get("conditions", ())}


def since(api: FakeApi, type_: str) -> str:
    return next(str(c["lastTransitionTime"]) for c in status(api)["conditions"] if c["type"] == type_)


async def test_a_node_whose_libvirt_answers_is_ready(node: AgentWorld, reporter: NodeReporter) -> None:
    assert await reporter.report() is None
    assert conditions(node.api) == {
        "Ready": ("True", "HypervisorReady"),
        "LibvirtReady": ("True", "LibvirtAnswers"),
    }


async def test_a_libvirt_that_is_away_is_said_and_all_else_stays_as_it_was(
    node: AgentWorld, reporter: NodeReporter, clock: Clock
) -> None:
    await reporter.report()
    known = status(node.api)
    clock.now += timedelta(minutes=1)
    node.hypervisor.disconnect()
    assert await reporter.report() == LOOK_AGAIN_AFTER
    assert conditions(node.api) == {
        "Ready": ("False", "LibvirtNotReady"),
        "LibvirtReady": ("False", "HypervisorUnavailable"),
    }
    told = status(node.api)
    assert {**told, "conditions": None} == {**known, "conditions": None}
    assert "libvirtd is not reachable" in told["conditions"][0]["message"]


async def test_saying_it_again_is_no_write_and_a_return_is_dated(
    node: AgentWorld, reporter: NodeReporter, clock: Clock
) -> None:
    await reporter.report()
    assert since(node.api, "LibvirtReady") == "2026-01-01T00:00:00Z"
    node.hypervisor.disconnect()
    clock.now += timedelta(minutes=1)
    await reporter.report()
    before = len(node.api.writes)
    clock.now += timedelta(minutes=1)
    await reporter.report()
    assert len(node.api.writes) == before
    assert since(node.api, "LibvirtReady") == "2026-01-01T00:01:00Z"
    node.hypervisor.reconnect()
    clock.now += timedelta(minutes=1)
    assert await reporter.report() is None
    assert conditions(node.api)["LibvirtReady"] == ("True", "LibvirtAnswers")
    assert since(node.api, "LibvirtReady") == "2026-01-01T00:03:00Z"


async def test_another_reason_moves_no_date(node: AgentWorld, reporter: NodeReporter, clock: Clock) -> None:
    node.hypervisor.fail("capabilities", Unavailable("no socket"), DeadlineExceeded("no answer in 30 s"))
    await reporter.report()
    clock.now += timedelta(minutes=1)
    await reporter.report()
    assert conditions(node.api)["LibvirtReady"] == ("False", "HypervisorDeadlineExceeded")
    assert since(node.api, "LibvirtReady") == "2026-01-01T00:00:00Z"


async def test_an_upgraded_libvirt_is_reported_when_it_returns(node: AgentWorld, reporter: NodeReporter) -> None:
    await reporter.report()
    node.hypervisor.host = type(node.hypervisor.host)(**{**vars(node.hypervisor.host), "libvirt_version": "10.0.0"})
    await reporter.report()
    assert status(node.api)["libvirtVersion"] == "10.0.0"


async def test_a_node_that_cannot_be_looked_at_says_why_and_is_looked_at_again(
    node: AgentWorld, reporter: NodeReporter
) -> None:
    await reporter.report()
    known = status(node.api)
    for entry in sorted((node.directory / "images").rglob("*"), reverse=True):
        entry.rmdir()
    (node.directory / "images").rmdir()
    (node.directory / "images").write_text("no directory")
    with pytest.raises(TryLater):
        await reporter.report()
    told = status(node.api)
    assert conditions(node.api)["LibvirtReady"][0] == "True"
    assert conditions(node.api)["Ready"][0] == "False"
    assert {**told, "conditions": None} == {**known, "conditions": None}


async def test_an_agent_that_starts_while_libvirt_is_away_says_so_once_and_leaves_the_rest(clock: Clock) -> None:
    api = FakeApi()
    api.add(HYPERVISOR, {"metadata": {"name": NODE}, "spec": {}, "status": {"agentVersion": "1.2.2"}})
    settled: list[str] = []
    outage, troubles = (
        OutageReporter(api, NODE, known=lambda: settled.append(""), now=clock),
        [Unavailable("no socket")] * 3,
    )

    async def attempt() -> str:
        if troubles:
            raise troubles.pop()
        return "there"

    async def sleep(_seconds: float) -> None: ...

    assert await until_available("libvirt", attempt, sleep, tell=outage.tell) == "there"
    assert conditions(api)["LibvirtReady"] == ("False", "HypervisorUnavailable")
    assert status(api)["agentVersion"] == "1.2.2"
    assert len(api.writes) == len(settled) == 1, "a rollout need not wait for this node"


async def test_an_agent_that_libvirt_does_not_answer_although_it_answered_the_one_before_holds_up_a_rollout(
    clock: Clock,
) -> None:
    api = FakeApi()
    answers = conditions_of((), libvirt=None, node=None, now=T0)
    before = {"conditions": [each.to_api() for each in answers]}
    api.add(HYPERVISOR, {"metadata": {"name": NODE}, "spec": {}, "status": before})
    settled: list[str] = []
    outage = OutageReporter(api, NODE, known=lambda: settled.append(""), now=clock)
    await outage.tell(Unavailable("no socket"))
    await outage.tell(DeadlineExceeded("no answer in 30 s"))
    assert conditions(api)["LibvirtReady"] == ("False", "HypervisorDeadlineExceeded")
    assert settled == []
    settled_by_the_next: list[str] = []
    following = OutageReporter(api, NODE, known=lambda: settled_by_the_next.append(""), now=clock)
    await following.tell(Unavailable("no socket"))
    assert settled_by_the_next == [""], "what was away before it came is not its doing"


async def test_a_node_that_never_was_gets_its_hypervisor_all_the_same(clock: Clock) -> None:
    api = FakeApi()
    await OutageReporter(api, NODE, known=lambda: None, now=clock).tell(Unavailable("no socket"))
    assert conditions(api)["Ready"] == ("False", "LibvirtNotReady")


async def test_an_outage_that_could_not_be_told_is_told_at_the_next_attempt(clock: Clock) -> None:
    api = FakeApi()
    api.fail(ApiUnavailable(503, "", "down"), verb="apply")
    settled: list[str] = []
    outage = OutageReporter(api, NODE, known=lambda: settled.append(""), now=clock)
    await outage.tell(Unavailable("no socket"))
    assert conditions(api) == {}
    assert settled == [], "nobody knows of it yet"
    await outage.tell(Unavailable("no socket"))
    assert conditions(api)["LibvirtReady"] == ("False", "HypervisorUnavailable")


@pytest.mark.looptime
async def test_a_libvirt_that_went_is_reported_unless_it_is_back_in_a_moment(node: AgentWorld) -> None:
    reports: WorkQueue[str] = WorkQueue(Backoff(), Random(1))
    vms: WorkQueue[Owner] = WorkQueue(Backoff(), Random(1))
    following = asyncio.create_task(follow(node.hypervisor, Intake(node.tools.view, node.reconciler, vms, reports)))
    await asyncio.sleep(0)
    node.hypervisor.disconnect()
    await asyncio.sleep(0.5)
    assert len(reports) == 0
    await asyncio.sleep(1)
    assert len(reports) == 1
    assert NODE_REPORT == "node"
    following.cancel()


def test_what_libvirt_says_is_kept_to_what_a_condition_takes() -> None:
    class Odd(Exception):
        reason = "bad reason\n"

    trouble = Trouble.of(Odd("two\nlines " + "x" * 5000))
    found = conditions_of((), libvirt=trouble, node=None, now=T0)
    assert {each.reason for each in found} == {"LibvirtNotReady", "Odd"}
    assert all("\n" not in each.message and len(each.message) < 2000 for each in found)


async def test_what_another_cluster_left_is_not_said_to_be_nothing_by_who_has_not_looked(clock: Clock) -> None:
    """It could not be told any more once libvirt answers."""
    api = FakeApi()
    await OutageReporter(api, NODE, known=lambda: None, now=clock).tell(Unavailable("no socket"))
    body = api.peek(HYPERVISOR, NODE)
    assert body is not None
    assert body["status"]["conditions"]
    assert "remains" not in body["status"]
