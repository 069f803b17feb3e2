"""`<controller>`: only those that libvirt would choose otherwise.

A USB controller nobody uses costs every guest memory and boot time, and libvirt's SCSI controller is an emulated LSI
chip unless told that it is virtio.
"""

from typing import Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element
from berth_agent.domain.requests import DomainRequest


class Controller(Element, tag="controller"):
    """A controller, or that there is none."""

    type: Literal["usb", "scsi"] = attr()
    index: int = attr(default=0)
    model: Literal["none", "virtio-scsi"] = attr()


def controller_elements(request: DomainRequest) -> tuple[Controller, ...]:
    """No USB, and virtio-scsi where a disk needs it."""
    scsi = any(disk.bus == "scsi" for disk in request.disks)
    return (
        Controller(type="usb", model="none"),
        *((Controller(type="scsi", model="virtio-scsi"),) if scsi else ()),
    )
