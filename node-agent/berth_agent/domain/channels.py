"""`<channel>`: the port on which a guest's QEMU agent listens."""

from typing import Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element


class Target(Element, tag="target"):
    """The port's name in the guest."""

    type: Literal["virtio"] = attr(default="virtio")
    name: Literal["org.qemu.guest_agent.0"] = attr(default="org.qemu.guest_agent.0")


class Channel(Element, tag="channel"):
    """A stream between libvirt and the guest."""

    type: Literal["unix"] = attr(default="unix")
    target: Target = Target()
