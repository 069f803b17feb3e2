"""`<os>`: firmware, machine type and direct kernel boot.

EFI is left to libvirt's firmware autoselection, which reads the descriptors that the distribution's OVMF package
brings (/usr/share/qemu/firmware) and keeps the variables beside the domain until it is undefined.
"""

from typing import Literal

from pydantic_xml import attr, element

from berth_agent.domain.elements import Element, YesNo, yes_no
from berth_agent.domain.requests import DomainRequest


class Type(Element, tag="type"):
    """Full virtualization on a machine type."""

    arch: Literal["x86_64"] = attr(default="x86_64")
    machine: str = attr()
    kind: Literal["hvm"] = "hvm"


class FirmwareFeature(Element, tag="feature"):
    """A feature that the firmware must have, or must not."""

    enabled: YesNo = attr()
    name: Literal["secure-boot", "enrolled-keys"] = attr()


class FirmwareFeatures(Element, tag="firmware"):
    """What to select a firmware by."""

    features: tuple[FirmwareFeature, ...]


class BootMenu(Element, tag="bootmenu"):
    """No menu: it would cost time, and nobody sits at the console."""

    enable: Literal["no"] = attr(default="no")


class Os(Element, tag="os"):
    """How the guest boots."""

    firmware: Literal["efi"] | None = attr(default=None)
    type: Type
    features: FirmwareFeatures | None = None
    kernel: str | None = element(tag="kernel", default=None)
    initrd: str | None = element(tag="initrd", default=None)
    command_line: str | None = element(tag="cmdline", default=None)
    bootmenu: BootMenu = BootMenu()


def os_element(request: DomainRequest) -> Os:
    """`<os>` for the request's firmware, machine type and kernel."""
    machine = Type(machine=request.machine_type)
    if request.firmware.type == "EFI":
        secure = yes_no(request.firmware.secure_boot)
        features = (
            FirmwareFeature(enabled=secure, name="enrolled-keys"),
            FirmwareFeature(enabled=secure, name="secure-boot"),
        )
        return Os(
            firmware="efi",
            type=machine,
            features=FirmwareFeatures(features=features),
        )
    kernel = request.kernel
    if kernel is None:
        return Os(type=machine)
    return Os(type=machine, kernel=kernel.path, initrd=kernel.initrd_path, command_line=kernel.command_line or None)
