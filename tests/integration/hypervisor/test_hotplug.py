"""A running guest is given CPUs and memory, and gives back what it can."""

from dataclasses import replace

import pytest
from tests.integration.hypervisor.conftest import MIB, Vm
from tests.integration.hypervisor.listeners import until
from tests.integration.hypervisor.nodes import Node
from tests.integration.hypervisor.shells import Shell, open_shell

from berth_agent.domain.documents import build
from berth_agent.domain.requests import DomainRequest
from berth_agent.hypervisor.descriptions import parse
from berth_agent.hypervisor.errors import DomainNotFound, OperationInvalid
from berth_agent.hypervisor.libvirt_adapter import LibvirtHypervisor
from berth_agent.hypervisor.states import DomainState
from berth_api.hardware import CPU

pytestmark = pytest.mark.integration

_ONLINE = "for cpu in /sys/devices/system/cpu/cpu*/online; do echo 1 > $cpu; done"


async def _state(hypervisor: LibvirtHypervisor, request: DomainRequest) -> DomainState:
    state = await hypervisor.domain(request.uid)
    assert state is not None
    return state


async def _memory(shell: Shell) -> int:
    """MiB that the guest's kernel has."""
    return int(await shell.run("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")) // 1024


def _plugged(node: Node, request: DomainRequest) -> int:
    """MiB that the guest has taken in."""
    domain = parse(node.virsh("dumpxml", request.domain_name))
    return int(domain.findtext("devices/memory/target/current", "")) // 1024


async def test_a_running_guest_sees_cpus_and_memory_that_it_is_given(
    hypervisor: LibvirtHypervisor, node: Node, debian_vm: Vm
) -> None:
    request = debian_vm(cpu=CPU(sockets=1, max_sockets=3), memory=256 * MIB, memory_max=768 * MIB)
    defined = await hypervisor.define(build(request))
    assert (defined.vcpus, defined.max_vcpus) == (1, 3)
    assert (defined.memory, defined.max_memory) == (256 * MIB, 768 * MIB)
    await hypervisor.start(request.uid)
    with open_shell(request, (await _state(hypervisor, request)).console) as shell:
        await shell.ready()
        await shell.run("echo online > /sys/devices/system/memory/auto_online_blocks; modprobe virtio_mem")
        assert await shell.run("nproc") == "1"
        before = await _memory(shell)

        await hypervisor.set_vcpus(request.uid, 2)
        await hypervisor.set_memory(request.uid, 511 * MIB)
        state = await _state(hypervisor, request)
        assert (state.vcpus, state.max_vcpus) == (2, 3)
        assert (state.memory, state.max_memory) == (512 * MIB, 768 * MIB)
        await until(lambda: _plugged(node, request) == 256, "the guest takes its memory in")
        await shell.run(f"until [ -e /sys/devices/system/cpu/cpu1/online ]; do sleep 0.1; done; {_ONLINE}")
        assert await shell.run("nproc") == "2"
        assert before + 240 <= await _memory(shell) <= before + 256

        await hypervisor.set_memory(request.uid, 256 * MIB)
        await until(lambda: _plugged(node, request) <= 128, "the guest gives most of it back")
        held = (await _state(hypervisor, request)).memory
        assert 256 * MIB <= held <= 384 * MIB, "what the guest still holds counts"
        with pytest.raises(OperationInvalid, match="under TCG keeps its 2 CPUs"):
            await hypervisor.set_vcpus(request.uid, 1)
    await hypervisor.destroy(request.uid)
    off = await _state(hypervisor, request)
    assert (off.vcpus, off.memory) == (1, 256 * MIB)


async def test_what_the_guest_has_no_room_for_is_refused(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    request = vm(cpu=CPU(max_sockets=2), memory_max=128 * MIB)
    with pytest.raises(DomainNotFound):
        await hypervisor.set_vcpus(request.uid, 2)
    await hypervisor.define(build(request))
    for step, value in ((hypervisor.set_vcpus, 2), (hypervisor.set_memory, 128 * MIB)):
        with pytest.raises(OperationInvalid, match="not active"):
            await step(request.uid, value)
    await hypervisor.start(request.uid)
    for count in (0, 3):
        with pytest.raises(OperationInvalid, match="from 1 to 2 CPUs"):
            await hypervisor.set_vcpus(request.uid, count)
    for size in (64 * MIB, 160 * MIB):
        with pytest.raises(OperationInvalid, match=r"memory\.maxSize"):
            await hypervisor.set_memory(request.uid, size)
    await hypervisor.set_vcpus(request.uid, 2)
    await hypervisor.set_vcpus(request.uid, 2)
    await hypervisor.set_memory(request.uid, 128 * MIB)
    assert (await _state(hypervisor, request)).memory == 128 * MIB


async def test_a_guest_without_a_maximum_has_no_memory_to_plug_in(hypervisor: LibvirtHypervisor, vm: Vm) -> None:
    request = vm()
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid)
    with pytest.raises(OperationInvalid, match=r"raise memory\.maxSize"):
        await hypervisor.set_memory(request.uid, 96 * MIB)


async def test_a_guest_that_was_redefined_meanwhile_is_given_more_all_the_same(
    hypervisor: LibvirtHypervisor, vm: Vm
) -> None:
    """The next start's definition has other sizes by then."""
    request = vm(cpu=CPU(max_sockets=2), memory_max=128 * MIB)
    await hypervisor.define(build(request))
    await hypervisor.start(request.uid)
    await hypervisor.define(build(replace(request, cpu=CPU(), memory_max=None, generation=2)))
    await hypervisor.set_vcpus(request.uid, 2)
    await hypervisor.set_memory(request.uid, 112 * MIB)
    state = await _state(hypervisor, request)
    assert (state.vcpus, state.memory, state.generation) == (2, 112 * MIB, 1)
