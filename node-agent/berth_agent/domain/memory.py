"""`<memory>` and `<currentMemory>`: what the guest boots with, in KiB as libvirt stores it."""

from typing import Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element

KIB = 1024


class Memory(Element, tag="memory"):
    """Memory of the guest at boot."""

    unit: Literal["KiB"] = attr(default="KiB")
    amount: int


class CurrentMemory(Element, tag="currentMemory"):
    """What the balloon leaves to the guest: all of it."""

    unit: Literal["KiB"] = attr(default="KiB")
    amount: int


def kibibytes(size: int) -> int:
    """KiB that hold this many bytes, rounded up."""
    return -(-size // KIB)
