"""Whether an installation works, as its own account sees it."""

import datetime as dt
from typing import Any

import pytest
from tests.fakes.api import FakeApi

from berth_api import kinds
from berth_api.client import Forbidden, Unavailable
from berth_operator.selfchecks import check, check_until_well
from berth_operator.settings import Settings

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
SETTINGS = Settings()


def lease(name: str, holder: str = "", age: float = 1.0) -> dict[str, Any]:
    renewed = (NOW - dt.timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "renewTime": renewed}
    return {"metadata": {"name": name, "namespace": SETTINGS.namespace}, "spec": spec}


def hypervisor(name: str, ready: str = "True") -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def working() -> FakeApi:
    api = FakeApi()
    api.add(kinds.LEASE, lease("berth-operator", "operator-1"))
    api.add(kinds.LEASE, lease("node-1"))
    api.add(kinds.HYPERVISOR, hypervisor("node-1"))
    return api


async def test_an_installation_works_with_a_leader_and_a_node() -> None:
    finding = await check(working(), SETTINGS, NOW)
    assert (finding.leader, finding.ready, finding.problems) == ("operator-1", ["node-1"], [])


@pytest.mark.parametrize("held", [lease("berth-operator", ""), lease("berth-operator", "operator-1", age=60)])
async def test_a_lease_that_nobody_holds_or_renews_is_no_leader(held: dict[str, Any]) -> None:
    api = working()
    api.add(kinds.LEASE, held)
    assert (await check(api, SETTINGS, NOW)).problems == [
        "no operator leads: the Lease berth-system/berth-operator is not held"
    ]


async def test_nodes_count_while_they_are_ready_and_their_agents_alive() -> None:
    api = working()
    api.add(kinds.HYPERVISOR, hypervisor("node-1", "False"))
    api.add(kinds.HYPERVISOR, hypervisor("node-2"))
    api.add(kinds.LEASE, lease("node-2", age=60))
    assert (await check(api, SETTINGS, NOW)).problems == [
        "none of 2 Hypervisors is Ready (kubectl describe hypervisors)"
    ]


async def test_it_waits_for_what_comes() -> None:
    api, asked = FakeApi(), list[None]()

    def now() -> dt.datetime:
        asked.append(None)
        if len(asked) == 2:
            for name in ("berth-operator", "node-1"):
                api.add(kinds.LEASE, lease(name, name))
            api.add(kinds.HYPERVISOR, hypervisor("node-1"))
        return NOW

    finding = await check_until_well(api, SETTINGS, timeout=30, now=now)
    assert finding.problems == []
    assert len(asked) == 2


async def test_what_is_still_missing_in_the_end_is_the_answer() -> None:
    finding = await check_until_well(FakeApi(), SETTINGS, timeout=0, now=lambda: NOW)
    assert len(finding.problems) == 2


async def test_a_server_that_is_away_for_a_moment_is_asked_again_and_one_that_refuses_is_not() -> None:
    api = working()
    api.fail(Unavailable(503, "", "not yet"), verb="list")
    assert (await check_until_well(api, SETTINGS, timeout=30, now=lambda: NOW)).problems == []
    api.fail(Forbidden(403, "Forbidden", "no"), verb="list")
    with pytest.raises(Forbidden):
        await check_until_well(api, SETTINGS, timeout=30, now=lambda: NOW)
