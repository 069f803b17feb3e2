"""What libvirt does when a guest goes down, and how far it may sleep.

A guest's own reboot stays within its process. Everything else ends the process and is told as an event: whether a
guest runs again is decided by its run strategy, never by libvirt, or two parties would start it.
"""

from typing import Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element


class OnPoweroff(Element, tag="on_poweroff"):
    """The guest powered itself off."""

    action: Literal["destroy"] = "destroy"


class OnReboot(Element, tag="on_reboot"):
    """The guest asked for a reset."""

    action: Literal["restart"] = "restart"


class OnCrash(Element, tag="on_crash"):
    """The guest's kernel panicked (told by pvpanic): preserving it would hold its memory with no one to look."""

    action: Literal["destroy"] = "destroy"


class SuspendToMemory(Element, tag="suspend-to-mem"):
    """ACPI S3."""

    enabled: Literal["no"] = attr(default="no")


class SuspendToDisk(Element, tag="suspend-to-disk"):
    """ACPI S4."""

    enabled: Literal["no"] = attr(default="no")


class PowerManagement(Element, tag="pm"):
    """No sleep states: nothing in a cluster would wake the guest."""

    memory: SuspendToMemory = SuspendToMemory()
    disk: SuspendToDisk = SuspendToDisk()
