"""Real guests, booted under TCG: they speak on their console, answer their agent, hear the power button."""

import os
import signal
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pycdlib
import pytest
from tests.integration.hypervisor.conftest import Vm
from tests.integration.hypervisor.listeners import Heard, until
from tests.integration.hypervisor.nodes import Node

from berth_agent.domain.documents import build
from berth_agent.domain.requests import DomainDisk, DomainRequest
from berth_agent.hypervisor.errors import GuestAgentUnavailable
from berth_agent.hypervisor.libvirt_adapter import LibvirtHypervisor
from berth_agent.hypervisor.states import DomainEventKind, DomainPower

pytestmark = pytest.mark.integration


async def _boot(hypervisor: LibvirtHypervisor, request: DomainRequest) -> None:
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid)


async def _says(request: DomainRequest, text: str) -> None:
    console = Path(request.console_log_path)
    await until(lambda: console.exists() and text in console.read_text(errors="replace"), f"the guest says {text}")


def _seed(path: Path, user_data: str) -> str:
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, rock_ridge="1.09", vol_ident="cidata")
    for name, text in (("meta-data", "local-hostname: berth-guest\n"), ("user-data", user_data)):
        data = text.encode()
        image.add_fp(BytesIO(data), len(data), f"/{name.upper().replace('-', '_')}.;1", rr_name=name)
    image.write(str(path))
    image.close()
    return str(path)


async def test_a_guest_boots_answers_and_powers_off_when_asked(
    hypervisor: LibvirtHypervisor, heard: Heard, tiny_vm: Vm, tmp_path: Path
) -> None:
    request = tiny_vm(seed_path=_seed(tmp_path / "seed.iso", ""))
    await _boot(hypervisor, request)
    await heard.domain(DomainEventKind.AGENT_CONNECTED, request.uid)
    await _says(request, "berth-tiny: booted berth-guest")
    await hypervisor.guest_ping(request.uid)
    info = await hypervisor.guest_info(request.uid)
    assert (info.hostname, info.os_id, info.os_name, info.os_version) == ("berth-guest", "berth-tiny", "berth-tiny", "")
    assert info.kernel_release.startswith("6.")
    assert [nic.name for nic in info.interfaces] == ["lo"]
    state = await hypervisor.domain(request.uid)
    assert state is not None
    assert state.guest_agent_connected

    await hypervisor.shutdown(request.uid)
    stopped = await heard.domain(DomainEventKind.STOPPED, request.uid)
    assert stopped.detail == "Shutdown"
    off = await hypervisor.domain(request.uid)
    assert off is not None
    assert (off.power, off.power_reason) == (DomainPower.SHUT_OFF, "Shutdown")


async def test_a_guest_powers_off_through_its_agent(hypervisor: LibvirtHypervisor, heard: Heard, tiny_vm: Vm) -> None:
    request = tiny_vm()
    await _boot(hypervisor, request)
    with pytest.raises(GuestAgentUnavailable):
        await hypervisor.shutdown(request.uid, mode="agent")
    for ask in (hypervisor.guest_ping, hypervisor.guest_info):
        with pytest.raises(GuestAgentUnavailable):
            await ask(request.uid)
    await heard.domain(DomainEventKind.AGENT_CONNECTED, request.uid)
    await _says(request, "booted")
    await hypervisor.shutdown(request.uid, mode="agent")
    await heard.domain(DomainEventKind.STOPPED, request.uid)


async def test_a_guests_own_reboot_is_told_and_keeps_its_process(
    hypervisor: LibvirtHypervisor, heard: Heard, tiny_vm: Vm, tmp_path: Path
) -> None:
    script = "#!/bin/sh\n[ $(cat /run/boots) != 1 ] || reboot -f\n"
    request = tiny_vm(seed_path=_seed(tmp_path / "seed.iso", script))
    await _boot(hypervisor, request)
    await heard.domain(DomainEventKind.REBOOTED, request.uid)
    await _says(request, "berth-tiny: boots 2")
    assert DomainEventKind.STOPPED not in heard.kinds()


async def test_a_guest_that_prints_without_end_does_not_fill_the_disk(
    hypervisor: LibvirtHypervisor, tiny_vm: Vm, tmp_path: Path
) -> None:
    script = "#!/bin/sh\nyes 0123456789012345678901234567890123456789012345678901234567890\n"
    request = tiny_vm(seed_path=_seed(tmp_path / "seed.iso", script))
    await _boot(hypervisor, request)
    log = Path(request.console_log_path)
    oldest = log.with_name(f"{log.name}.1")
    await until(oldest.exists, "the console is rotated")
    inode = oldest.stat().st_ino
    await until(lambda: oldest.exists() and oldest.stat().st_ino != inode, "it is rotated again")
    logs = [file for file in (log, log.with_name(f"{log.name}.0"), oldest) if file.exists()]
    assert not log.with_name(f"{log.name}.2").exists()
    assert sum(file.stat().st_size for file in logs) <= 3 * 65536 + 4096


async def test_a_guest_whose_process_is_killed_is_off_and_failed(
    hypervisor: LibvirtHypervisor, heard: Heard, node: Node, vm: Vm
) -> None:
    request = vm()
    await _boot(hypervisor, request)
    os.kill(node.guest_pid(request.domain_name), signal.SIGKILL)
    stopped = await heard.domain(DomainEventKind.STOPPED, request.uid)
    assert stopped.detail == "Failed"
    off = await hypervisor.domain(request.uid)
    assert off is not None
    assert (off.power, off.power_reason) == (DomainPower.SHUT_OFF, "Crashed")


async def test_a_guest_without_room_on_its_storage_is_paused_and_told(
    hypervisor: LibvirtHypervisor, heard: Heard, node: Node, tiny_vm: Vm, tmp_path: Path
) -> None:
    script = "#!/bin/sh\ndd if=/dev/urandom of=/dev/vdb bs=64k\n"
    scratch = str(node.small_file_system(4) / "scratch.qcow2")
    node.run("qemu-img", "create", "-q", "-f", "qcow2", scratch, "16M")
    request = tiny_vm(seed_path=_seed(tmp_path / "seed.iso", script))
    request = replace(request, disks=(*request.disks, DomainDisk(name="scratch", path=scratch)))
    # a tmpfs can be opened with O_DIRECT only since Linux 6.6
    await hypervisor.define(build(request).replace('cache="none"', 'cache="writeback"'))
    await hypervisor.start(request.uid)
    told = await heard.domain(DomainEventKind.IO_ERROR, request.uid)
    assert told.detail.endswith(":enospc")
    await heard.domain(DomainEventKind.SUSPENDED, request.uid)
    state = await hypervisor.domain(request.uid)
    assert state is not None
    assert (state.power, state.power_reason) == (DomainPower.PAUSED, "IOError")
