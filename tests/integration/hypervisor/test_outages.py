"""libvirtd crashes, hangs and comes back; guests run on, and every call ends in time."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.hypervisor.conftest import Vm
from tests.integration.hypervisor.listeners import Heard, until
from tests.integration.hypervisor.nodes import Node

from berth_agent.domain.documents import build
from berth_agent.hypervisor.errors import DeadlineExceeded, HypervisorError, Unavailable
from berth_agent.hypervisor.libvirt_adapter import LibvirtHypervisor
from berth_agent.hypervisor.settings import Deadlines, LibvirtSettings
from berth_agent.hypervisor.states import ConnectionChange, DomainEventKind, DomainPower

pytestmark = pytest.mark.integration


async def test_a_guest_outlives_its_libvirtd(hypervisor: LibvirtHypervisor, heard: Heard, node: Node, vm: Vm) -> None:
    request = vm()
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid)
    before = await hypervisor.domain(request.uid)
    pid = node.guest_pid(request.domain_name)

    node.kill_libvirtd()
    await heard.connection(ConnectionChange.DISCONNECTED)
    assert not hypervisor.connected
    with pytest.raises(Unavailable):
        await hypervisor.domains()
    assert node.is_alive(pid)

    heard.events.clear()
    node.start_libvirtd()
    await heard.connection(ConnectionChange.CONNECTED)
    assert await hypervisor.domain(request.uid) == before
    assert node.guest_pid(request.domain_name) == pid
    await hypervisor.destroy(request.uid)
    await heard.domain(DomainEventKind.STOPPED, request.uid)


async def test_a_call_that_libvirtd_dies_under_is_told_at_once(hypervisor: LibvirtHypervisor, node: Node) -> None:
    node.stop_answering()
    call = asyncio.create_task(hypervisor.domains())
    await asyncio.sleep(0.05)
    node.kill_libvirtd()
    with pytest.raises(Unavailable):
        async with asyncio.timeout(5):
            await call
    node.start_libvirtd()


async def test_a_hung_libvirtd_is_given_up_at_the_deadline_and_taken_back(
    connect: Callable[..., Any], node: Node, vm: Vm
) -> None:
    deadlines = Deadlines(query=0.3, listing=0.3, change=0.3, connect=1.0)
    hypervisor = await connect(deadlines=deadlines, keepalive_interval=1, keepalive_count=2)
    async with Heard.of(hypervisor) as heard:
        node.stop_answering()
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await hypervisor.domains()
        assert time.monotonic() - start < 2
        await heard.connection(ConnectionChange.DISCONNECTED)
        with pytest.raises(Unavailable):
            await hypervisor.domains()
        heard.events.clear()
        node.answer_again()
        await heard.connection(ConnectionChange.CONNECTED)
        assert await hypervisor.domains() == ()


async def test_a_hung_guest_holds_up_nobody_else(
    hypervisor: LibvirtHypervisor, connect: Callable[..., Any], node: Node, vm: Vm
) -> None:
    hung, other = vm("hung"), vm("other")
    for request in (hung, other):
        await hypervisor.define(build(request))
        await hypervisor.start(request.uid)
    impatient = await connect(deadlines=Deadlines(change=0.5), concurrency=2)
    pid = node.guest_pid(hung.domain_name)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(DeadlineExceeded, match="did not answer suspend_domain"):
            await impatient.suspend(hung.uid)
        for _ in range(20):
            with pytest.raises(DeadlineExceeded, match="earlier call"):
                await impatient.suspend(hung.uid)
        await impatient.suspend(other.uid)
        states = {domain.owner.uid: domain.power for domain in await impatient.domains()}
        assert states == {hung.uid: DomainPower.RUNNING, other.uid: DomainPower.PAUSED}
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_hung_guest_can_be_destroyed(connect: Callable[..., Any], node: Node, vm: Vm) -> None:
    hypervisor = await connect(deadlines=Deadlines(change=25))
    request = vm("hung")
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid)
    os.kill(node.guest_pid(request.domain_name), signal.SIGSTOP)
    stuck = asyncio.create_task(hypervisor.suspend(request.uid))
    async with asyncio.timeout(25):
        await hypervisor.destroy(request.uid)
        with pytest.raises(HypervisorError):
            await stuck
    state = await hypervisor.domain(request.uid)
    assert state is not None
    assert state.power is DomainPower.SHUT_OFF


async def test_a_libvirtd_that_comes_late_is_found(node: Node, tmp_path: Any) -> None:
    missing = LibvirtSettings(uri=f"qemu+unix:///system?socket={tmp_path}/libvirt-sock", backoff_most=0.2)
    async with LibvirtHypervisor("tcg", missing) as hypervisor, Heard.of(hypervisor) as heard:
        with pytest.raises(Unavailable):
            await hypervisor.capabilities()
        (tmp_path / "libvirt-sock").symlink_to(node.path("/run/libvirt") / "libvirt-sock")
        await heard.connection(ConnectionChange.CONNECTED)
        assert hypervisor.connected


async def test_reconnecting_leaves_nothing_open(hypervisor: LibvirtHypervisor, heard: Heard, node: Node) -> None:
    def open_files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    async def lose_and_find() -> None:
        await hypervisor.domains()
        heard.events.clear()
        node.kill_libvirtd()
        await heard.connection(ConnectionChange.DISCONNECTED)
        heard.events.clear()
        node.start_libvirtd()
        await heard.connection(ConnectionChange.CONNECTED)

    await lose_and_find()
    before = open_files()
    for _ in range(3):
        await lose_and_find()
    await until(lambda: open_files() <= before, "closed connections free their sockets")


async def test_a_cancelled_call_goes_on_and_harms_nobody(hypervisor: LibvirtHypervisor, heard: Heard, vm: Vm) -> None:
    request = vm()
    await hypervisor.define(build(request))
    call = asyncio.create_task(hypervisor.start(request.uid))
    await heard.domain(DomainEventKind.DEFINED, request.uid)
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await heard.domain(DomainEventKind.RESUMED, request.uid)
    state = await hypervisor.domain(request.uid)
    assert state is not None
    assert state.power is DomainPower.RUNNING


async def test_errors_are_the_ports_own(hypervisor: LibvirtHypervisor) -> None:
    with pytest.raises(HypervisorError) as refusal:
        await hypervisor.start("not-a-uuid")
    assert refusal.value.reason == "DomainNotFound"
