"""A domain from its definition to its end, on a real libvirtd."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.integration.hypervisor.conftest import MIB, Vm, blank_disk
from tests.integration.hypervisor.listeners import Heard
from tests.integration.hypervisor.nodes import Node

from berth_agent.domain.documents import build
from berth_agent.domain.requests import DomainDisk
from berth_agent.hypervisor.errors import DomainNotFound, OperationFailed, OperationInvalid
from berth_agent.hypervisor.libvirt_adapter import LibvirtHypervisor
from berth_agent.hypervisor.states import DomainEventKind, DomainOwner, DomainPower
from berth_api.hardware import CPU
from berth_api.virtualmachines import Firmware

pytestmark = pytest.mark.integration


async def test_a_domain_lives_and_every_step_is_told(hypervisor: LibvirtHypervisor, heard: Heard, vm: Vm) -> None:
    request = vm(parts={"cpu": "c0", "disks": "d0"}, restarted_at="2026-01-01T00:00:00+00:00")
    uid = request.uid

    defined = await hypervisor.define(build(request))
    assert (defined.power, defined.claim_id, defined.machine_type) == (DomainPower.SHUT_OFF, "c-1", "pc-q35-7.2")
    assert defined.owner == DomainOwner("default", "a", uid)
    assert [(disk.target, disk.source, disk.serial) for disk in defined.disks] == [
        ("vda", request.disks[0].path, "root")
    ]
    assert (defined.parts, defined.restarted_at) == ({"cpu": "c0", "disks": "d0"}, "2026-01-01T00:00:00+00:00")
    assert (defined.vcpus, defined.max_vcpus, defined.memory, defined.max_memory) == (1, 1, 96 * MIB, 96 * MIB)

    await hypervisor.start(uid, boot_id="b-1&'")
    running = await hypervisor.domain(uid)
    assert running is not None
    assert (running.power, running.power_reason) == (DomainPower.RUNNING, "Unpaused")
    assert running.console.startswith("/dev/pts/")
    assert running.boot_id == "b-1&'"
    assert running.started_at is not None
    assert abs(datetime.now(UTC) - running.started_at) < timedelta(seconds=30)

    await hypervisor.suspend(uid)
    paused = await hypervisor.domain(uid)
    assert paused is not None
    assert (paused.power, paused.power_reason) == (DomainPower.PAUSED, "User")
    await hypervisor.resume(uid)

    await hypervisor.destroy(uid)
    off = await hypervisor.domain(uid)
    assert off is not None
    assert (off.power, off.power_reason) == (DomainPower.SHUT_OFF, "Destroyed")
    assert (off.started_at, off.boot_id) == (running.started_at, running.boot_id), "its definition tells of its guest"
    again = await hypervisor.define(build(request))
    assert (again.started_at, again.boot_id) == (None, "")
    await hypervisor.undefine(uid)
    assert await hypervisor.domain(uid) is None
    assert await hypervisor.domains() == ()

    await heard.domain(DomainEventKind.UNDEFINED, uid)
    by_chance = (DomainEventKind.AGENT_DISCONNECTED, DomainEventKind.SHUTTING_DOWN)
    told = [kind for kind in heard.kinds() if kind not in by_chance]
    assert told[0] is DomainEventKind.DEFINED
    assert set(told[1:4]) == {DomainEventKind.SUSPENDED, DomainEventKind.RESUMED, DomainEventKind.STARTED}
    assert told[4:] == [
        DomainEventKind.SUSPENDED,
        DomainEventKind.RESUMED,
        DomainEventKind.STOPPED,
        DomainEventKind.DEFINED,
        DomainEventKind.UNDEFINED,
    ]


async def test_a_start_that_was_cut_short_is_noted_before_the_guest_runs(
    hypervisor: LibvirtHypervisor, node: Node, vm: Vm
) -> None:
    """Whoever started it was killed before it could tell: the guest stands, and has done nothing."""
    request = vm()
    await hypervisor.define(build(request))
    node.virsh("start", "--paused", request.domain_name)
    begun = await hypervisor.domain(request.uid)
    assert begun is not None
    assert (begun.power, begun.started_at) == (DomainPower.PAUSED, None)
    await hypervisor.resume(request.uid, boot_id="b-2")
    running = await hypervisor.domain(request.uid)
    assert running is not None
    assert (running.power, running.boot_id) == (DomainPower.RUNNING, "b-2")
    assert running.started_at is not None
    await hypervisor.suspend(request.uid)
    await hypervisor.resume(request.uid, boot_id="b-3")
    await hypervisor.destroy(request.uid)
    off = await hypervisor.domain(request.uid)
    assert off is not None
    assert (off.started_at, off.boot_id) == (running.started_at, "b-2")


async def test_a_start_by_somebody_else_is_not_taken_for_the_last_of_ours(
    hypervisor: LibvirtHypervisor, node: Node, vm: Vm
) -> None:
    request = vm()
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid, boot_id="b-1")
    await hypervisor.destroy(request.uid)
    node.virsh("start", request.domain_name)
    theirs = await hypervisor.domain(request.uid)
    assert theirs is not None
    assert (theirs.power, theirs.started_at, theirs.boot_id) == (DomainPower.RUNNING, None, "")


async def test_it_is_noted_what_a_guest_was_asked_to_stop_for(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    request = vm()
    await hypervisor.define(build(request))
    await hypervisor.shutdown(request.uid, reason="Stopped")
    assert (await hypervisor.define(build(request))).asked_to_stop_at is None, "one that is off is not asked"
    await hypervisor.start(request.uid)
    await hypervisor.shutdown(request.uid, reason="ProbeFailed")
    await hypervisor.shutdown(request.uid)
    await hypervisor.destroy(request.uid)
    off = await hypervisor.domain(request.uid)
    assert off is not None
    assert off.asked_to_stop_for == "ProbeFailed"
    assert off.asked_to_stop_at is not None
    assert abs(datetime.now(UTC) - off.asked_to_stop_at) < timedelta(seconds=30)
    assert (await hypervisor.define(build(request))).asked_to_stop_for == ""


async def test_every_step_can_be_repeated(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    request = vm()
    for _ in range(2):
        await hypervisor.define(build(request))
    for step in (hypervisor.start, hypervisor.suspend, hypervisor.resume, hypervisor.destroy, hypervisor.undefine):
        await step(request.uid)
        await step(request.uid)


async def test_a_guest_can_start_paused(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    request = vm()
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid, paused=True)
    state = await hypervisor.domain(request.uid)
    assert state is not None
    assert state.power is DomainPower.PAUSED
    await hypervisor.resume(request.uid)
    state = await hypervisor.domain(request.uid)
    assert state is not None
    assert state.power is DomainPower.RUNNING


async def test_an_active_domain_is_not_forgotten(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    request = vm()
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid)
    with pytest.raises(OperationInvalid, match="destroy it first"):
        await hypervisor.undefine(request.uid)
    assert await hypervisor.domain(request.uid) is not None


async def test_what_is_not_active_cannot_be_paused(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    request = vm()
    await hypervisor.define(build(request))
    for step in (hypervisor.suspend, hypervisor.resume):
        with pytest.raises(OperationInvalid):
            await step(request.uid)
    await hypervisor.shutdown(request.uid)


async def test_a_running_guest_keeps_its_hardware_when_it_is_redefined(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    before = vm(parts={"cpu": "a0"})
    after = replace(before, cpu=CPU(cores=2), generation=2, parts={"cpu": "b0"})
    await hypervisor.define(build(before))
    await hypervisor.start(before.uid)
    assert (await hypervisor.define(build(after))).parts == before.parts
    await hypervisor.destroy(before.uid)
    state = await hypervisor.domain(before.uid)
    assert state is not None
    assert (state.generation, state.vcpus, state.parts) == (2, 2, after.parts)


async def test_a_vm_without_a_domain_has_nothing_to_start(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    uid = vm().uid
    for step in (hypervisor.start, hypervisor.suspend, hypervisor.resume, hypervisor.shutdown, hypervisor.guest_ping):
        with pytest.raises(DomainNotFound):
            await step(uid)
    await hypervisor.destroy(uid)
    await hypervisor.undefine(uid)


async def test_a_guest_whose_disk_is_missing_does_not_start(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    request = vm(disks=(DomainDisk(name="root", path="/nowhere/root.qcow2"),))
    await hypervisor.define(build(request))
    with pytest.raises(OperationFailed, match=r"/nowhere/root\.qcow2"):
        await hypervisor.start(request.uid)
    state = await hypervisor.domain(request.uid)
    assert state is not None
    assert state.power is DomainPower.SHUT_OFF


async def test_every_kind_of_disk_is_taken(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    request = vm()
    root = request.disks[0]
    folder = root.path.rpartition("/")[0]
    more = tuple(DomainDisk(name=bus, path=f"{folder}/{bus}.qcow2", bus=bus) for bus in ("virtio", "scsi", "sata"))
    for disk in more:
        blank_disk(Path(disk.path))
    request = replace(request, disks=(root, *more))
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid)
    state = await hypervisor.domain(request.uid)
    assert state is not None
    assert [disk.target for disk in state.disks] == ["vda", "vdb", "sda", "sdb"]


@pytest.mark.parametrize("secure_boot", [False, True])
async def test_variables_of_an_efi_guest_go_with_its_domain(
    hypervisor: LibvirtHypervisor, node: Node, vm: Vm, secure_boot: bool
) -> None:
    request = vm(firmware=Firmware(type="EFI", secure_boot=secure_boot), memory=128 * 1024 * 1024)
    variables = node.path("/var/lib/libvirt") / "qemu/nvram" / f"{request.domain_name}_VARS.fd"
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid)
    assert variables.is_file()
    await hypervisor.destroy(request.uid)
    await hypervisor.undefine(request.uid)
    assert not variables.exists()


async def test_another_uuid_is_taken_by_a_stopped_vm_and_not_by_a_running_one(
    hypervisor: LibvirtHypervisor, vm: Vm
) -> None:
    request = vm()
    other = replace(request, firmware=Firmware(uuid="11111111-2222-4333-8444-555555555555"))
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid)
    with pytest.raises(OperationInvalid):
        await hypervisor.define(build(other))
    await hypervisor.destroy(request.uid)
    await hypervisor.define(build(other))
    state = await hypervisor.domain(request.uid)
    assert state is not None
    assert state.uuid == "11111111-2222-4333-8444-555555555555"
    assert len(await hypervisor.domains()) == 1
