"""What libvirt says of how a guest came to its end. It is all that an agent learns which was not there to see it."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.integration.hypervisor.conftest import Vm
from tests.integration.hypervisor.listeners import DEADLINE, Heard, until
from tests.integration.hypervisor.nodes import Node
from tests.integration.hypervisor.shells import open_shell

from berth_agent.domain.documents import build
from berth_agent.domain.requests import DomainRequest
from berth_agent.hypervisor.errors import OperationFailed
from berth_agent.hypervisor.libvirt_adapter import LibvirtHypervisor
from berth_agent.hypervisor.states import ConnectionChange, DomainEventKind, DomainPower, DomainState

pytestmark = pytest.mark.integration


async def _boot(hypervisor: LibvirtHypervisor, request: DomainRequest) -> DomainState:
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid)
    state = await hypervisor.domain(request.uid)
    assert state is not None
    return state


async def _end(hypervisor: LibvirtHypervisor, request: DomainRequest) -> str:
    """The reason why it is off."""
    state = await hypervisor.domain(request.uid)
    assert state is not None
    assert state.power is DomainPower.SHUT_OFF
    return state.power_reason


async def _until_off(hypervisor: LibvirtHypervisor, request: DomainRequest) -> None:
    """Poll: whether the event is told to whoever connects while it happens is a matter of luck."""
    async with asyncio.timeout(DEADLINE):
        while await _is_active(hypervisor, request):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.1)


async def _is_active(hypervisor: LibvirtHypervisor, request: DomainRequest) -> bool:
    state = await hypervisor.domain(request.uid)
    return state is not None and state.power.is_active


async def _restart_libvirtd(node: Node, heard: Heard) -> None:
    heard.events.clear()
    node.start_libvirtd()
    await heard.connection(ConnectionChange.CONNECTED)


def _kill(node: Node, request: DomainRequest) -> int:
    pid = node.guest_pid(request.domain_name)
    os.kill(pid, signal.SIGKILL)
    return pid


async def test_powered_off_by_itself(hypervisor: LibvirtHypervisor, heard: Heard, debian_vm: Vm) -> None:
    request = debian_vm()
    state = await _boot(hypervisor, request)
    with open_shell(request, state.console) as shell:
        await shell.ready()
        shell.send("echo o > /proc/sysrq-trigger")
        stopped = await heard.domain(DomainEventKind.STOPPED, request.uid)
    assert stopped.detail == "Shutdown"
    assert await _end(hypervisor, request) == "Shutdown"


async def test_panicked(hypervisor: LibvirtHypervisor, heard: Heard, debian_vm: Vm) -> None:
    request = debian_vm()
    state = await _boot(hypervisor, request)
    with open_shell(request, state.console) as shell:
        await shell.ready()
        await shell.run("modprobe pvpanic-mmio")
        shell.send("echo c > /proc/sysrq-trigger")
        stopped = await heard.domain(DomainEventKind.STOPPED, request.uid)
    assert stopped.detail == "Crashed"
    assert DomainEventKind.CRASHED in heard.kinds()
    assert await _end(hypervisor, request) == "Crashed"


async def test_its_process_was_killed(hypervisor: LibvirtHypervisor, heard: Heard, node: Node, vm: Vm) -> None:
    request = vm()
    await _boot(hypervisor, request)
    _kill(node, request)
    assert (await heard.domain(DomainEventKind.STOPPED, request.uid)).detail == "Failed"
    assert await _end(hypervisor, request) == "Crashed"


async def test_its_process_was_told_to_end(hypervisor: LibvirtHypervisor, heard: Heard, node: Node, vm: Vm) -> None:
    """As by a node that shuts down in good order."""
    request = vm()
    await _boot(hypervisor, request)
    os.kill(node.guest_pid(request.domain_name), signal.SIGTERM)
    assert (await heard.domain(DomainEventKind.STOPPED, request.uid)).detail == "Shutdown"
    assert await _end(hypervisor, request) == "Shutdown"


async def test_destroyed(hypervisor: LibvirtHypervisor, heard: Heard, node: Node, vm: Vm) -> None:
    request = vm()
    await _boot(hypervisor, request)
    node.virsh("destroy", request.domain_name)
    assert (await heard.domain(DomainEventKind.STOPPED, request.uid)).detail == "Destroyed"
    assert await _end(hypervisor, request) == "Destroyed"


async def test_never_came_up(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    request = vm()
    await hypervisor.define(build(request))
    Path(request.disks[0].path).unlink()  # noqa: ASYNC240 - nothing else runs meanwhile
    with pytest.raises(OperationFailed):
        await hypervisor.start(request.uid)
    assert await _end(hypervisor, request) == "Failed"


async def test_its_process_was_killed_while_libvirtd_was_away(
    hypervisor: LibvirtHypervisor, heard: Heard, node: Node, vm: Vm
) -> None:
    request = vm()
    await _boot(hypervisor, request)
    node.kill_libvirtd()
    pid = _kill(node, request)
    await until(lambda: not node.is_alive(pid), "QEMU is gone")
    await _restart_libvirtd(node, heard)
    assert await _end(hypervisor, request) == "Crashed"


async def test_powered_off_by_itself_while_libvirtd_was_away(
    hypervisor: LibvirtHypervisor, heard: Heard, node: Node, debian_vm: Vm
) -> None:
    """QEMU waits for libvirtd to come back before it ends."""
    request = debian_vm()
    state = await _boot(hypervisor, request)
    with open_shell(request, state.console) as shell:
        await shell.ready()
        await shell.run("echo 7 > /proc/sys/kernel/printk")
        node.kill_libvirtd()
        shell.send("echo o > /proc/sysrq-trigger")
        console = Path(request.console_log_path)
        try:
            await until(lambda: "Power down" in console.read_text(errors="replace"), "the guest powers off")
        finally:
            await _restart_libvirtd(node, heard)
    await _until_off(hypervisor, request)
    assert await _end(hypervisor, request) == "Shutdown"


async def test_ended_and_then_libvirtd_was_restarted(
    hypervisor: LibvirtHypervisor, heard: Heard, node: Node, vm: Vm
) -> None:
    """The reason of an inactive domain is in libvirtd's memory only."""
    request = vm()
    await _boot(hypervisor, request)
    _kill(node, request)
    await heard.domain(DomainEventKind.STOPPED, request.uid)
    node.kill_libvirtd()
    await _restart_libvirtd(node, heard)
    assert await _end(hypervisor, request) == "Unknown"


async def test_the_node_was_rebooted(hypervisor: LibvirtHypervisor, heard: Heard, node: Node, vm: Vm) -> None:
    """What libvirt knows of running guests is in /run, which a boot empties."""
    request = vm()
    await _boot(hypervisor, request)
    node.kill_libvirtd()
    pid = _kill(node, request)
    await until(lambda: not node.is_alive(pid), "QEMU is gone")
    for file in (node.path("/run/libvirt") / "qemu").glob(f"{request.domain_name}.*"):
        file.unlink()
    await _restart_libvirtd(node, heard)
    assert await _end(hypervisor, request) == "Unknown"
