"""`<maxMemory>`, `<memory>`, `<currentMemory>` and the memory device: what the guest boots with, and can be given.

Memory that can be added comes from one virtio-mem device: its size is the most that it can bring, and what is requested
of it can be changed at any time. The guest's driver plugs in what it is asked to, block by block, and gives back the
blocks that it can free. A DIMM for each change would fill slots, and could hardly be taken out again. libvirt asks for
a `<maxMemory>` with a slot and for a NUMA cell that the device belongs to, and counts the device into `<memory>`.
Source: libvirt "Domain XML format", "Memory devices"; virtio 1.2, section 5.15.
"""

from typing import Literal

from pydantic_xml import attr, element

from berth_agent.domain.elements import Element
from berth_agent.domain.requests import DomainRequest

KIB = 1024
BLOCK = 2 * 1024 * 1024
"""Bytes that memory is plugged in by: a huge page of x86-64, the least that QEMU takes for it."""
_ALIGNMENT = 1024 * 1024
"""What libvirt rounds a NUMA cell up to on x86-64."""


class MaxMemory(Element, tag="maxMemory"):
    """Boot memory and all that can be plugged in."""

    slots: Literal[1] = attr(default=1)
    unit: Literal["KiB"] = attr(default="KiB")
    amount: int


class Memory(Element, tag="memory"):
    """Memory of the guest at boot, with the size of its memory device."""

    unit: Literal["KiB"] = attr(default="KiB")
    amount: int


class CurrentMemory(Element, tag="currentMemory"):
    """What the balloon leaves to the guest: all that it boots with."""

    unit: Literal["KiB"] = attr(default="KiB")
    amount: int


class MemoryAmount(Element):
    """A size of the memory device."""

    unit: Literal["KiB"] = attr(default="KiB")
    amount: int


class MemoryTarget(Element, tag="target"):
    """The device's sizes, and the NUMA cell that it adds to."""

    size: MemoryAmount = element(tag="size")
    node: Literal[0] = element(tag="node", default=0)
    block: MemoryAmount = element(tag="block", default=MemoryAmount(amount=BLOCK // KIB))
    requested: MemoryAmount = element(tag="requested", default=MemoryAmount(amount=0))


class MemoryDevice(Element, tag="memory"):
    """Memory that can be plugged in and out."""

    model: Literal["virtio-mem"] = attr(default="virtio-mem")
    target: MemoryTarget


def max_memory(request: DomainRequest) -> MaxMemory | None:
    """`<maxMemory>`; None where nothing can be plugged in."""
    pluggable = _pluggable(request)
    return MaxMemory(amount=boot_memory(request) + pluggable) if pluggable else None


def memory(request: DomainRequest) -> Memory:
    """`<memory>`."""
    return Memory(amount=boot_memory(request) + _pluggable(request))


def current_memory(request: DomainRequest) -> CurrentMemory:
    """`<currentMemory>`."""
    return CurrentMemory(amount=boot_memory(request))


def memory_device(request: DomainRequest) -> MemoryDevice | None:
    """The memory device; None where nothing can be plugged in."""
    pluggable = _pluggable(request)
    return MemoryDevice(target=MemoryTarget(size=MemoryAmount(amount=pluggable))) if pluggable else None


def boot_memory(request: DomainRequest) -> int:
    """KiB that the guest boots with, rounded up as libvirt would."""
    grows = request.memory_max is not None and request.memory_max > request.memory
    return _round_up(request.memory, _ALIGNMENT if grows else KIB) // KIB


def is_pluggable(request: DomainRequest) -> bool:
    """Whether the guest can be given more memory than it boots with."""
    return _pluggable(request) > 0


def _pluggable(request: DomainRequest) -> int:
    """KiB of the memory device, in whole blocks that hold what was asked for."""
    if request.memory_max is None:
        return 0
    return _round_up(max(0, request.memory_max - _round_up(request.memory, _ALIGNMENT)), BLOCK) // KIB


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
