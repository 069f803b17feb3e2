"""Killing, freezing, restarting: nothing is lost, nothing is given twice, and a steady state is silent."""

import asyncio
import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.integration.api.apiserver import free_ports
from tests.integration.operator.waiting import eventually
from tests.integration.operator.worlds import World

from berth_api import kinds
from berth_api.fields import SYSTEM_NAMESPACE
from berth_api.quantities import to_bytes

pytestmark = pytest.mark.integration
RSS_LIMIT = 150 * 1024 * 1024


def resident(pid: int) -> int:
    """Bytes of memory that a process occupies."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def claims(world: World) -> dict[str, dict[str, Any]]:
    vms = (await world.api.list(kinds.VIRTUAL_MACHINE)).items
    return {vm["metadata"]["name"]: vm["status"]["claim"] for vm in vms if "claim" in vm.get("status", {})}


def addresses(found: dict[str, dict[str, Any]]) -> list[str]:
    return [text for claim in found.values() for nic in claim["interfaces"] for text in nic["ipAddresses"]]


async def test_killed_in_the_middle_of_a_batch_it_goes_on_where_it_was(world: World) -> None:
    for name in ("node-1", "node-2"):
        await world.add_node(name, memory="8Gi", cpu="16")
    process = world.operate()
    await world.leading(process)
    await asyncio.gather(*(world.create_vm(f"vm-{number}") for number in range(60)))
    process.kill()
    process.wait(10)
    before = await claims(world)
    async with world.operator():

        async def all_decided() -> bool:
            vms = (await world.api.list(kinds.VIRTUAL_MACHINE)).items
            return all(vm.get("status", {}).get("phase") in ("Scheduled", "Unschedulable") for vm in vms)

        await eventually(all_decided, 15)
        after = await claims(world)
        assert before.items() <= after.items()
        assert len(set(addresses(after))) == len(addresses(after)) == len(after)
        epochs = {claim["epoch"] for name, claim in after.items() if name not in before}
        assert epochs <= {2}
        room = 2 * (8 * 1024 - 512) * 1024 * 1024
        assert sum(to_bytes(claim["memory"]) for claim in after.values()) <= room
        assert len(after) == 2 * ((8 * 1024 - 512) // (to_bytes(after["vm-0"]["memory"]) // 1024**2))


async def test_a_steady_state_is_silent_and_small(world: World) -> None:
    await world.add_node("node-1")
    async with world.operator(audit_interval="3") as process:
        await world.create_vm("web")
        await world.create_vm("huge", memory={"size": "64Gi"})
        await world.create_vm("lost", networks=[{"name": "nic", "networkName": "none"}])
        await world.bound("web")
        await world.reason("huge", "Unschedulable")
        await world.reason("lost", "NetworkNotFound")
        await asyncio.sleep(2)
        offset = world.server.audit.stat().st_size
        for _ in range(4):
            await world.beat("node-1")
            await asyncio.sleep(5)
        writes, _ = world.server.writes_since(offset)
        assert [(write["verb"], write["requestURI"]) for write in writes] == []
        assert resident(process.pid) < RSS_LIMIT


async def test_a_second_operator_takes_over_at_once_when_the_first_is_stopped(world: World) -> None:
    await world.add_node("node-1")
    first = world.operate()
    await world.leading(first)
    second = world.operate()
    await asyncio.sleep(2)
    await world.create_vm("one")
    assert (await world.bound("one"))["status"]["claim"]["epoch"] == 1
    first.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait, 15) == 0
    await world.leading(second, 3)
    await world.create_vm("two")
    assert (await world.bound("two"))["status"]["claim"]["epoch"] == 2
    lease = await world.api.get(kinds.LEASE, "berth-operator", SYSTEM_NAMESPACE)
    assert lease["spec"]["leaseTransitions"] == 2


async def test_a_frozen_leader_that_thaws_writes_nothing_more(world: World) -> None:
    await world.add_node("node-1", memory="8Gi", cpu="16")
    first = world.operate()
    await world.leading(first)
    second = world.operate()
    first.send_signal(signal.SIGSTOP)
    await asyncio.gather(*(world.create_vm(f"vm-{number}") for number in range(10)))
    await world.leading(second, 20)
    for number in range(10):
        assert (await world.bound(f"vm-{number}"))["status"]["claim"]["epoch"] == 2
    before = await claims(world)
    first.send_signal(signal.SIGCONT)
    await world.create_vm("late")
    assert (await world.bound("late"))["status"]["claim"]["epoch"] == 2
    await asyncio.sleep(3)
    after = await claims(world)
    assert {name: claim for name, claim in after.items() if name != "late"} == before
    assert first.poll() is None


async def test_an_api_server_that_goes_away_and_comes_back_is_waited_for(world: World) -> None:
    await world.add_node("node-1")
    async with world.operator():
        await world.create_vm("before")
        await world.bound("before")
        world.server.kill_apiserver()
        await asyncio.sleep(4)
        world.server.start_apiserver()
        await world.beat("node-1")
        await world.create_vm("after")
        vm = await world.bound("after", 30)
        assert vm["status"]["claim"]["epoch"] >= 1
        assert len(set(addresses(await claims(world)))) == 2


async def test_probes_answer_at_the_leader_and_at_who_stands_by_and_metrics_tell_who_leads(world: World) -> None:
    ports = free_ports(2)
    for port in ports:
        pages = {f"{name}_url": f"http://127.0.0.1:{port}/{name}" for name in ("liveness", "readiness", "metrics")}
        await ready(world.operate(**pages), port)
    leading = []
    for port in ports:
        assert await page(port, "liveness") == (200, "ok")
        _, metrics = await page(port, "metrics")
        leading += [line for line in metrics.splitlines() if line.startswith("berth_operator_leading ")]
    assert sorted(leading) == ["berth_operator_leading 0.0", "berth_operator_leading 1.0"]
    world.server.kill_apiserver()
    await asyncio.sleep(4)
    try:
        for port in ports:
            assert await page(port, "liveness") == (200, "ok")
            assert await page(port, "readiness") == (200, "ok")
    finally:
        world.server.start_apiserver()


async def page(port: int, name: str) -> tuple[int, str]:
    """What is served there: status and text."""

    def read() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()

    return await asyncio.to_thread(read)


async def ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until the operator says so."""

    async def probe() -> bool:
        assert process.poll() is None
        try:
            return (await page(port, "readiness"))[0] == 200
        except OSError:
            return False

    await eventually(probe, 60)
