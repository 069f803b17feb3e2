"""`<interface>`: a virtio NIC on a tap that the agent made and keeps.

`managed='no'`: libvirt opens the tap that is there and leaves it there, so a restart of the guest keeps its network,
and the tap goes when its attachment goes. Without a boot ROM: no guest boots from the network, and the ROM costs each
boot its time.
"""

from typing import Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element
from berth_agent.domain.requests import DomainInterface


class Mac(Element, tag="mac"):
    """MAC address that the guest uses."""

    address: str = attr()


class Target(Element, tag="target"):
    """The tap."""

    dev: str = attr()
    managed: Literal["no"] = attr(default="no")


class Model(Element, tag="model"):
    """The device that the guest sees."""

    type: Literal["virtio"] = attr(default="virtio")


class Driver(Element, tag="driver"):
    """Pairs of queues, at most one for each of the guest's CPUs to be of use."""

    queues: int = attr()


class Mtu(Element, tag="mtu"):
    """MTU that the guest is told."""

    size: int = attr()


class Rom(Element, tag="rom"):
    """No boot ROM."""

    enabled: Literal["no"] = attr(default="no")


class InterfaceElement(Element, tag="interface"):
    """A NIC of the guest."""

    type: Literal["ethernet"] = attr(default="ethernet")
    mac: Mac
    target: Target
    model: Model = Model()
    driver: Driver | None = None
    mtu: Mtu | None = None
    rom: Rom = Rom()


def interface_element(interface: DomainInterface) -> InterfaceElement:
    """`<interface>` for one NIC."""
    return InterfaceElement(
        mac=Mac(address=interface.mac_address),
        target=Target(dev=interface.tap_device),
        driver=Driver(queues=interface.queues) if interface.queues > 1 else None,
        mtu=None if interface.mtu is None else Mtu(size=interface.mtu),
    )
