"""What is another cluster's is owed to the Hypervisor until it shows that, whatever the cluster does not take."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.agent.conftest import NODE, AgentWorld

from berth_agent.hypervisor.states import DomainOwner
from berth_agent.network.attachments import Attachment, AttachmentState
from berth_agent.node.facts import Remains
from berth_agent.node.remains import FIRST_PAUSE, LONGEST_PAUSE, RemainsReporter
from berth_agent.node.reports import NodeReporter
from berth_agent.reconcile.reaping import find_remains
from berth_api.client import ApiError, Forbidden, Invalid, Unavailable
from berth_api.hypervisors import RemainingInterface
from berth_api.kinds import HYPERVISOR

FORMER = "6b1f2b1e-41c5-4c8e-9d3b-2f0f6a3b7c01"
LAN = RemainingInterface(name="lan", network_name="default", mac_address="02:be:00:00:00:01")
GUEST = Remains(DomainOwner("default", "web", FORMER), None, {"default": 2**26}, (LAN,))


@pytest.fixture
async def reporter(node: AgentWorld) -> RemainsReporter:
    """Of a node with a Hypervisor and a guest of another cluster."""
    await NodeReporter(node.tools, agent_version="1").ensure_object()
    node.tools.facts.remains, node.tools.facts.knows_remains = (GUEST,), True
    return RemainsReporter(node.tools, clock=node.clock)


def told(node: AgentWorld) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] | None = (node.api.peek(HYPERVISOR, NODE) or {}).get("status", {}).get("remains")
    return found


def pass_time(node: AgentWorld, seconds: float) -> None:
    node.now = node.now.fromtimestamp(node.now.timestamp() + seconds, node.now.tzinfo)


def change(node: AgentWorld, status: dict[str, Any] | None) -> None:
    """Somebody else writes the whole status, and the watch tells of it."""
    body = node.api.peek(HYPERVISOR, NODE) or {}
    del body["metadata"]["resourceVersion"]
    body["status"] = status or {}
    node.tools.view.put(HYPERVISOR, node.api.add(HYPERVISOR, body))


def forbidden() -> Forbidden:
    return Forbidden(403, "Forbidden", "not to be written by agents")


async def test_what_was_refused_is_told_once_the_policy_allows_it(node: AgentWorld, reporter: RemainsReporter) -> None:
    node.api.fail(forbidden(), verb="patch_json", times=2)
    assert await reporter.tell() == FIRST_PAUSE
    writes = len(node.api.writes)
    assert await reporter.tell() == FIRST_PAUSE
    assert len(node.api.writes) == writes, "before the pause is over"
    pass_time(node, FIRST_PAUSE)
    assert await reporter.tell() == 2 * FIRST_PAUSE
    pass_time(node, 2 * FIRST_PAUSE)
    assert await reporter.tell() is None
    assert [guest["uid"] for guest in told(node) or ()] == [FORMER]


async def test_the_pauses_end_at_the_longest(node: AgentWorld, reporter: RemainsReporter) -> None:
    node.api.fail(forbidden(), verb="patch_json", times=12)
    pauses = []
    for _ in range(12):
        pauses.append(await reporter.tell() or 0.0)
        pass_time(node, pauses[-1])
    assert pauses[-1] == LONGEST_PAUSE
    assert await reporter.tell() is None


async def test_what_an_old_definition_drops_without_a_word_is_told_once_it_is_new(
    node: AgentWorld, reporter: RemainsReporter
) -> None:
    node.api.prunes = "remains"
    assert await reporter.tell() == FIRST_PAUSE
    writes = len(node.api.writes)
    node.api.prunes = ""
    assert await reporter.tell() == FIRST_PAUSE
    assert len(node.api.writes) == writes
    pass_time(node, FIRST_PAUSE)
    assert await reporter.tell() is None
    assert [guest["uid"] for guest in told(node) or ()] == [FORMER]


async def test_what_the_hypervisor_has_lost_is_told_at_once(node: AgentWorld, reporter: RemainsReporter) -> None:
    assert await reporter.tell() is None
    change(node, None)
    assert await reporter.tell() is None
    assert [guest["uid"] for guest in told(node) or ()] == [FORMER]


async def test_a_change_of_what_is_here_does_not_wait(node: AgentWorld, reporter: RemainsReporter) -> None:
    node.api.fail(forbidden(), verb="patch_json")
    assert await reporter.tell() == FIRST_PAUSE
    node.tools.facts.remains = (replace(GUEST, interfaces=()),)
    assert await reporter.tell() is None


@pytest.mark.parametrize(
    "error",
    [
        Invalid(422, "Invalid", "interfaces: Duplicate value"),
        Invalid(413, "RequestEntityTooLarge", "the request is too large"),
        Unavailable(500, "", "etcdserver: request is too large"),
    ],
)
async def test_of_what_is_not_taken_the_guest_is_told_without_its_nics_and_then_without_its_disks(
    node: AgentWorld, reporter: RemainsReporter, error: ApiError
) -> None:
    node.api.fail(error, verb="patch_json")
    assert await reporter.tell() == FIRST_PAUSE
    assert [(each["uid"], len(each["pools"]), each["interfaces"]) for each in told(node) or ()] == [(FORMER, 1, [])]
    node.api.fail(error, verb="patch_json", times=2)
    change(node, None)
    await reporter.tell()
    assert [(each["uid"], each["pools"], each["interfaces"]) for each in told(node) or ()] == [(FORMER, [], [])]


async def test_a_server_that_takes_none_of_it_has_all_else_of_the_node_told(node: AgentWorld) -> None:
    await node.tools.images.start()
    reporter = NodeReporter(node.tools, agent_version="1", clock=node.clock)
    await reporter.ensure_object()
    node.tools.facts.knows_remains = True
    node.api.fail(Invalid(422, "Invalid", "not so"), verb="patch_json", times=9)
    assert await reporter.report() == FIRST_PAUSE
    assert (node.api.peek(HYPERVISOR, NODE) or {})["status"]["agentVersion"] == "1"


async def test_a_server_that_is_away_is_asked_again_before_the_node_is_called_ready(
    node: AgentWorld, reporter: RemainsReporter
) -> None:
    node.api.fail(Unavailable(503, "", "down"), verb="patch_json")
    with pytest.raises(Unavailable):
        await reporter.tell()
    assert await reporter.tell() is None


async def test_a_status_that_somebody_emptied_is_written_again_once(node: AgentWorld) -> None:
    await node.tools.images.start()
    reporter = NodeReporter(node.tools, agent_version="1")
    await reporter.report()
    shown = (node.api.peek(HYPERVISOR, NODE) or {})["status"]
    change(node, {"conditions": shown["conditions"]})
    await reporter.report()
    assert (node.api.peek(HYPERVISOR, NODE) or {})["status"] == shown
    writes = len(node.api.writes)
    await reporter.report()
    assert len(node.api.writes) == writes


async def test_a_definition_that_drops_a_field_causes_no_writes_in_a_loop(node: AgentWorld) -> None:
    await node.tools.images.start()
    reporter = NodeReporter(node.tools, agent_version="1")
    node.api.prunes = "machineTypes"
    await reporter.report()
    assert "machineTypes" not in (node.api.peek(HYPERVISOR, NODE) or {})["status"]
    writes = len(node.api.writes)
    await reporter.report()
    assert len(node.api.writes) == writes


@pytest.mark.parametrize(("odd", "address"), [("odd", "not an address"), ("a" * 33, "10.0.0.9/24")])
async def test_an_odd_record_of_a_nic_keeps_nothing_else_from_being_told(
    node: AgentWorld, odd: str, address: str
) -> None:
    await node.tools.origins.note(FORMER, namespace="default", name="web")
    node.cluster = "cluster-2"
    await node.restart()
    for name, addresses in ((odd, (address,)), ("lan", tuple(f"10.0.0.{n}/24" for n in range(1, 7)))):
        attachment = Attachment(
            interface=name,
            container_id="c",
            sandbox="s",
            tap_device="t",
            mac_address="02:be:00:00:00:01",
            ip_addresses=addresses,
            gateway=None,
        )
        node.attachments.here[FORMER, name] = AttachmentState(
            owner_uid=FORMER,
            namespace="default",
            vm_name="web",
            interface=name,
            network_name="default",
            attachment=attachment,
            broken=None,
        )
    await find_remains(node.tools)
    (remains,) = node.tools.facts.remains
    assert [(nic.name, len(nic.ip_addresses)) for nic in remains.interfaces] == [("lan", 4)]
