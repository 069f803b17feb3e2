"""Hollow nodes before the real API server and the real operator, which cannot tell them from others."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.operator.apiserver import MORTAL
from tests.integration.operator.waiting import eventually
from tests.integration.operator.worlds import World, scheduled

from berth_api import kinds
from berth_api.fields import SYSTEM_NAMESPACE
from berth_dev.hollow.nodes import HollowNodes
from berth_dev.hollow.objects import LABEL
from berth_dev.hollow.options import Faults, HollowOptions, Shape

pytestmark = pytest.mark.integration
OPTIONS = HollowOptions(
    count=20,
    shape=Shape(cpu="1", memory="4Gi", pool_size="10Gi", accelerator="tcg", networks=("lan",)),
    heartbeat_interval=1.0,
)
"""Room for four VMs of one CPU each."""
CALM = {"lease_duration": "15", "lease_renew_deadline": "10"}
"""A busy machine must not cost the operator its leadership: the nodes would refuse what it decided before."""


async def phases(world: World, wanted: str, count: int) -> list[dict[str, Any]]:
    """All VMs, once this many are in this phase."""

    async def probe() -> list[dict[str, Any]] | None:
        vms = [*(await world.api.list(kinds.VIRTUAL_MACHINE)).items]
        return vms if sum(vm.get("status", {}).get("phase") == wanted for vm in vms) == count else None

    return await eventually(probe, 60)  # type: ignore[no-any-return]


async def started(nodes: HollowNodes, count: int) -> None:
    """Wait until this many guests have been started."""

    async def probe() -> bool:
        return nodes.report.started >= count

    await eventually(probe, 60)


async def left(world: World) -> list[str]:
    """What hollow nodes have left behind."""
    places = ((kinds.NODE, ""), (kinds.HYPERVISOR, ""), (kinds.LEASE, SYSTEM_NAMESPACE))
    lists = [await world.api.list(kind, where) for kind, where in places]
    names = [body["metadata"]["name"] for listed in lists for body in listed.items]
    return [name for name in names if name.startswith(OPTIONS.prefix)]


async def gone(world: World) -> bool:
    """Wait until there is no VM any more."""

    async def probe() -> bool:
        return not (await world.api.list(kinds.VIRTUAL_MACHINE)).items

    return bool(await eventually(probe, 60))


def names(vms: list[dict[str, Any]], phase: str) -> set[str]:
    return {vm["metadata"]["name"] for vm in vms if vm["status"]["phase"] == phase}


async def test_vms_run_on_them_fill_them_and_leave_them(world: World) -> None:
    async with world.operator(**CALM):
        async with HollowNodes(world.api, OPTIONS) as nodes:
            labelled = await world.api.list(kinds.HYPERVISOR, label_selector=f"{LABEL}=true")
            assert len(labelled.items) == 20
            await asyncio.gather(*(world.create_vm(f"vm-{number}") for number in range(85)))
            await started(nodes, 80)
            await phases(world, "Unschedulable", 5)
            vms = await phases(world, "Running", 80)
            running, waiting = names(vms, "Running"), names(vms, "Unschedulable")
            for vm in vms:
                status = vm["status"]
                assert status["phase"] != "Running" or status["admittedClaim"] == status["claim"]["id"]
                assert status["phase"] != "Running" or len(status["interfaces"][0]["ipAddresses"]) == 1
            for name in sorted(running)[:5]:
                await world.api.delete(kinds.VIRTUAL_MACHINE, name, "default")
            await started(nodes, 85)
            vms = await phases(world, "Running", 80)
            assert waiting < names(vms, "Running")
            for vm in vms:
                await world.api.delete(kinds.VIRTUAL_MACHINE, vm["metadata"]["name"], "default")
            assert await gone(world)
        report = nodes.report
        assert (report.over_capacity, report.refused) == (0, {})
        assert (report.admitted, report.started, report.released) == (85, 85, 85)
        assert report.heartbeats > 0
        assert await left(world) == []


async def test_a_refused_vm_goes_to_another_node(world: World) -> None:
    async with world.operator(**CALM), HollowNodes(world.api, OPTIONS) as nodes:
        nodes.faults = Faults(refusing=frozenset(OPTIONS.names[:10]))
        await asyncio.gather(*(world.create_vm(f"vm-{number}") for number in range(10)))
        await started(nodes, 10)
        vms = await phases(world, "Running", 10)
        assert {vm["status"]["nodeName"] for vm in vms} <= set(OPTIONS.names[10:])
        assert nodes.report.refused["Injected"] > 0
        assert nodes.report.over_capacity == 0


async def test_a_node_that_falls_silent_gets_no_vms(world: World) -> None:
    async with world.operator(heartbeat_timeout="3", **CALM), HollowNodes(world.api, OPTIONS) as nodes:
        nodes.faults = Faults(silent=frozenset(OPTIONS.names[1:]))

        async def only_one_is_left() -> bool:
            vm = await world.create_vm("probe", cpu={"cores": 64})
            message = scheduled(await world.reason("probe", "Unschedulable"))["message"]
            await world.api.delete(kinds.VIRTUAL_MACHINE, "probe", "default", uid=vm["metadata"]["uid"])
            await gone(world)
            return "19 " in message

        await eventually(only_one_is_left, 60)
        for number in range(4):
            await world.create_vm(f"vm-{number}")
        vms = await phases(world, "Running", 4)
        assert {vm["status"]["nodeName"] for vm in vms} == {OPTIONS.names[0]}


async def test_guests_stay_admitted_while_their_nodes_are_played_by_another_process(world: World) -> None:
    async with world.operator(**CALM):
        async with HollowNodes(world.api, replace(OPTIONS, keep=True)):
            await world.create_vm("before")
            await phases(world, "Running", 1)
        assert len(await left(world)) == 60
        async with HollowNodes(world.api, OPTIONS) as again:
            await world.create_vm("after")
            await phases(world, "Running", 2)
        assert (again.report.offered, again.report.admitted) == (2, 1)
        assert await left(world) == []


@contextmanager
def program(world: World, *argv: str) -> "Iterator[subprocess.Popen[bytes]]":
    """`python -m berth_dev hollow`, killed in the end."""
    command = [sys.executable, "-m", "berth_dev", "hollow", "--kubeconfig", str(world.server.kubeconfig), *argv]
    process = subprocess.Popen([*MORTAL, *command])
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_program_ends_by_a_signal_reports_and_cleans_up(
    world: World, tmp_path: Path, number: signal.Signals
) -> None:
    report = tmp_path / "report.json"
    with program(world, "--nodes", "5", "--report", str(report)) as process:

        async def all_there() -> bool:
            return len(await left(world)) == 15

        await eventually(all_there, 60)
        process.send_signal(number)
        assert await asyncio.to_thread(process.wait, 60) == 0
    assert await left(world) == []
    assert json.loads(report.read_text())["nodes"] == 5
