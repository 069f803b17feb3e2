"""Hollow nodes in whole, before an API server in memory: they come, answer and go, on virtual time."""

import asyncio
import json
from dataclasses import replace

import pytest
from tests.unit.dev.hollow.watched import WatchedApi, bind, claim, status_of, vm_body

from berth_api.client import Conflict, Forbidden, Unavailable
from berth_api.fields import AGENT, OPERATOR_LEASE, SYSTEM_NAMESPACE
from berth_api.kinds import HYPERVISOR, LEASE, NODE, VIRTUAL_MACHINE
from berth_dev.errors import DevError
from berth_dev.hollow.nodes import HollowNodes
from berth_dev.hollow.options import Faults, HollowOptions, Shape

pytestmark = pytest.mark.looptime
OPTIONS = HollowOptions(count=2, shape=Shape(cpu="1", memory="4Gi", pool_size="10Gi"))
"""Four CPUs each, with overcommit."""
ONE, TWO = OPTIONS.names


def left(api: WatchedApi) -> list[str]:
    return [plural for plural, _, name in api._objects if name.startswith("hollow-")]


async def bound(api: WatchedApi, name: str, node: str, **claimed: object) -> None:
    api.add(VIRTUAL_MACHINE, vm_body(name))
    await bind(api, name, node, claim(f"of-{name}", **claimed))  # type: ignore[arg-type]  # a claim's fields


async def test_a_bound_vm_is_admitted_runs_and_is_released() -> None:
    api = WatchedApi()
    async with HollowNodes(api, OPTIONS) as nodes:
        await bound(api, "web", ONE)
        await api.until(lambda: status_of(api, "web").get("phase") == "Running")
        assert status_of(api, "web")["admittedClaim"] == "of-web"
        assert status_of(api, "web")["interfaces"][0]["ipAddresses"] == ["10.7.0.9"]
        writes = [call for call in api.writes if call.field_manager == AGENT and call.kind == "VirtualMachine"]
        assert [call.body["status"]["phase"] for call in writes] == ["Starting", "Running"]
        await api.delete(VIRTUAL_MACHINE, "web", "default")
        await api.until(lambda: status_of(api, "web").get("releasedClaim") == "of-web")
        assert status_of(api, "web")["claim"]["id"] == "of-web"
    report = nodes.report
    assert (report.nodes, report.offered, report.admitted, report.started, report.released) == (2, 1, 1, 1, 1)
    assert report.over_capacity == 0
    assert left(api) == []


async def test_an_unchanged_vm_causes_no_writes() -> None:
    api = WatchedApi()
    async with HollowNodes(api, OPTIONS):
        await bound(api, "web", ONE)
        await api.until(lambda: status_of(api, "web").get("phase") == "Running")
        before = [call for call in api.writes if call.kind != "Lease"]
        await asyncio.sleep(100)
        assert [call for call in api.writes if call.kind != "Lease"] == before


async def test_what_was_admitted_before_a_restart_still_counts() -> None:
    api = WatchedApi()
    async with HollowNodes(api, replace(OPTIONS, keep=True)):
        await bound(api, "large", ONE, cpu="4")
        await api.until(lambda: status_of(api, "large").get("phase") == "Running")
    assert len(left(api)) == 6
    async with HollowNodes(api, OPTIONS) as nodes:
        await bound(api, "more", ONE)
        await api.until(lambda: status_of(api, "more").get("refusedClaim") == "of-more")
    assert nodes.report.refused == {"InsufficientCPU": 1}
    assert [violation.vm for violation in nodes.report.violations] == ["default/more"]
    assert nodes.report.admitted == 0


async def test_the_administrator_may_change_what_a_node_gives() -> None:
    api = WatchedApi()
    async with HollowNodes(api, OPTIONS) as nodes:
        spec = {"overcommit": {"cpu": 8.0}, "maxVirtualMachines": 1}
        await api.apply(HYPERVISOR, ONE, "", {"spec": spec}, field_manager="admin")
        await bound(api, "large", ONE, cpu="8")
        await api.until(lambda: status_of(api, "large").get("phase") == "Running")
        await bound(api, "second", ONE, cpu="0")
        await api.until(lambda: status_of(api, "second").get("refusedClaim") == "of-second")
    assert [violation.reason for violation in nodes.report.violations] == ["NoFreeSlot"]


async def test_a_former_leaders_claim_is_refused() -> None:
    api = WatchedApi()
    lease = {"metadata": {"name": OPERATOR_LEASE, "namespace": SYSTEM_NAMESPACE}, "spec": {"leaseTransitions": 2}}
    api.add(LEASE, lease)
    async with HollowNodes(api, OPTIONS) as nodes:
        await bound(api, "late", ONE, epoch=1)
        await api.until(lambda: status_of(api, "late").get("refusedClaim") == "of-late")
        assert "StaleEpoch" in status_of(api, "late")["conditions"][0]["message"]
        await bound(api, "fresh", ONE, epoch=2)
        await api.until(lambda: status_of(api, "fresh").get("phase") == "Running")
    assert nodes.report.refused == {"StaleEpoch": 1}


async def test_faults_may_change_while_it_runs() -> None:
    api = WatchedApi()
    async with HollowNodes(api, OPTIONS) as nodes:
        nodes.faults = Faults(refusing=frozenset({ONE}))
        await bound(api, "web", ONE)
        await api.until(lambda: status_of(api, "web").get("refusedClaim") == "of-web")
        await bind(api, "web", TWO, claim("again"))
        await api.until(lambda: status_of(api, "web").get("phase") == "Running")
        nodes.faults = Faults(silent=frozenset({ONE}))
        await asyncio.sleep(10)
        before = api.peek(LEASE, ONE, SYSTEM_NAMESPACE)
        await asyncio.sleep(30)
        assert api.peek(LEASE, ONE, SYSTEM_NAMESPACE) == before
    assert nodes.report.refused == {"Injected": 1}
    assert nodes.report.admitted == 1


async def test_admission_and_boot_take_the_time_that_was_asked_for() -> None:
    api = WatchedApi()
    options = replace(OPTIONS, boot_delay=20, faults=Faults(admission_delay=5))
    async with HollowNodes(api, options):
        begun = asyncio.get_running_loop().time()
        await bound(api, "web", ONE)
        await api.until(lambda: "admittedClaim" in status_of(api, "web"))
        admitted = asyncio.get_running_loop().time() - begun
        await api.until(lambda: status_of(api, "web").get("phase") == "Running")
        running = asyncio.get_running_loop().time() - begun
    assert admitted == pytest.approx(5, abs=0.1)
    assert running == pytest.approx(25, abs=0.1)


async def test_a_vm_that_goes_while_it_waits_is_let_go() -> None:
    api = WatchedApi()
    async with HollowNodes(api, replace(OPTIONS, boot_delay=1000)) as nodes:
        await bound(api, "web", ONE, cpu="4")
        await api.until(lambda: status_of(api, "web").get("phase") == "Starting")
        api.remove(VIRTUAL_MACHINE, "web", "default")
        await bound(api, "next", ONE, cpu="4")
        await api.until(lambda: status_of(api, "next").get("phase") == "Starting")
    assert nodes.report.over_capacity == 0


async def test_writes_that_fail_are_repeated() -> None:
    api = WatchedApi()
    async with HollowNodes(api, OPTIONS) as nodes:
        api.fail(Unavailable(503, "", "busy"), verb="apply", kind=VIRTUAL_MACHINE, times=2)
        api.fail(Conflict(409, "Conflict", "changed"), verb="apply", kind=VIRTUAL_MACHINE)
        api.add(VIRTUAL_MACHINE, vm_body("web", ONE))
        await api.until(lambda: status_of(api, "web").get("phase") == "Running")
        assert nodes.report.admitted == 1


async def test_what_was_made_is_removed_where_it_cannot_be_finished() -> None:
    api = WatchedApi()
    api.fail(Forbidden(403, "Forbidden", "no"), kind=LEASE, verb="create", name=TWO)
    with pytest.raises(DevError, match="no"):
        async with HollowNodes(api, OPTIONS):
            pass
    assert left(api) == []


async def test_run_ends_by_being_cancelled_and_leaves_nothing() -> None:
    api = WatchedApi()
    nodes = HollowNodes(api, OPTIONS)
    playing = asyncio.create_task(nodes.run())
    await nodes.ready.wait()
    assert api.peek(NODE, ONE) is not None
    playing.cancel()
    await asyncio.wait({playing})
    assert playing.cancelled()
    assert left(api) == []


async def test_the_report_can_be_written_down() -> None:
    api = WatchedApi()
    async with HollowNodes(api, OPTIONS) as nodes:
        for name in ("one", "two"):
            await bound(api, name, ONE, cpu="3")
        await api.until(lambda: status_of(api, "one").get("phase") == "Running")
        await api.until(lambda: "refusedClaim" in status_of(api, "two"))
    written = json.loads(json.dumps(nodes.report.to_json()))
    assert (written["offered"], written["over_capacity"], written["admitted"]) == (2, 1, 1)
    assert written["violations"][0]["vm"] == "default/two"
    assert nodes.report.line().startswith("2 nodes: 2 claims offered, 1 over capacity, 1 admitted (0/s), 1 refused")
