"""CPU and memory of a running guest.

CPUs are plugged into the sockets that the domain has room for, memory is asked for of a virtio-mem device: the guest's
driver takes it in, or gives it back, when it can. Only the running guest is changed: what the next start has is said by
the definition that is written before it.

A guest under TCG keeps its CPUs: QEMU takes one out when the guest has given it back, but tells of that as of its
interrupt controller only, so libvirt goes on counting it (seen with QEMU 7.2).
"""

from typing import Any
from xml.etree.ElementTree import Element, tostring

import libvirt

from berth_agent.hypervisor.descriptions import (
    VIRTIO_MEM,
    boot_memory,
    current_vcpus,
    max_vcpus,
    parse,
    pluggable_memory,
    size_of,
)
from berth_agent.hypervisor.domains import Search, must_find
from berth_agent.hypervisor.errors import OperationInvalid

_KIB = 1024
_EMULATED = "qemu"
"""The domain type of guests under TCG."""
_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE


def set_vcpus(connection: Any, search: Search, count: int) -> None:
    """Give the guest this many CPUs.

    Raises:
        OperationInvalid: it is not active, has no room for them, or cannot give any back.
    """
    domain = must_find(connection, search)
    _must_be_active(domain)
    root = parse(domain.XMLDesc())
    most, has = max_vcpus(root), current_vcpus(root)
    if not 1 <= count <= most:
        raise OperationInvalid(
            f"the guest can have from 1 to {most} CPUs while it runs, not {count}: restart it, or raise cpu.maxSockets"
        )
    if count < has and root.get("type") == _EMULATED:
        raise OperationInvalid(f"a guest under TCG keeps its {has} CPUs while it runs: restart it to have {count}")
    if count != has:
        domain.setVcpusFlags(count, _LIVE)


def set_memory(connection: Any, search: Search, size: int) -> None:
    """Ask the guest to have this much memory, in bytes.

    Raises:
        OperationInvalid: it is not active, or has no room for it.
    """
    domain = must_find(connection, search)
    _must_be_active(domain)
    root = parse(domain.XMLDesc())
    device = root.find(VIRTIO_MEM)
    boot, most = boot_memory(root), boot_memory(root) + pluggable_memory(root)
    if device is None or not boot <= size <= most:
        raise OperationInvalid(
            f"the guest can have from {boot} to {most} bytes of memory while it runs, not {size}: restart it, or raise "
            "memory.maxSize"
        )
    domain.updateDeviceFlags(_requesting(device, size - boot), _LIVE)


def _requesting(device: Element, size: int) -> str:
    """The device as it is, but for what it is asked to plug in: whole blocks that hold the size."""
    block = size_of(device.find("target/block"))
    requested = device.find("target/requested")
    if requested is None or not block:
        raise OperationInvalid("the guest's memory device does not say what was requested of it")
    requested.set("unit", "KiB")
    requested.text = str(-(-size // block) * block // _KIB)
    return tostring(device, encoding="unicode")


def _must_be_active(domain: Any) -> None:
    if not domain.isActive():
        raise OperationInvalid(f"the domain {domain.name()} is not active")
