"""The whole domain XML, its elements in the order of libvirt's schema."""

from typing import Literal
from xml.etree.ElementTree import indent, tostring

from pydantic_xml import attr, element

from berth_agent.domain.clock import Clock
from berth_agent.domain.cpu import VCPU, CPUElement, cpu_element, vcpu
from berth_agent.domain.devices import Devices, devices_element
from berth_agent.domain.elements import Element
from berth_agent.domain.features import Features, features_element
from berth_agent.domain.memory import CurrentMemory, MaxMemory, Memory, current_memory, max_memory, memory
from berth_agent.domain.metadata import Metadata, owner_of
from berth_agent.domain.os import Os, os_element
from berth_agent.domain.power import OnCrash, OnPoweroff, OnReboot, PowerManagement
from berth_agent.domain.requests import DomainRequest


class Document(Element, tag="domain"):
    """A libvirt domain."""

    type: Literal["kvm", "qemu"] = attr()
    name: str = element(tag="name")
    uuid: str = element(tag="uuid")
    metadata: Metadata
    max_memory: MaxMemory | None = None
    memory: Memory
    current_memory: CurrentMemory
    vcpu: VCPU
    os: Os
    features: Features
    cpu: CPUElement
    clock: Clock = Clock()
    on_poweroff: OnPoweroff = OnPoweroff()
    on_reboot: OnReboot = OnReboot()
    on_crash: OnCrash = OnCrash()
    power_management: PowerManagement = PowerManagement()
    devices: Devices


def build(request: DomainRequest) -> str:
    """The libvirt domain XML of a VM: the same request always gives the same text.

    Whether the guest starts paused is not in it: that is said when it is started.
    Source: https://libvirt.org/formatdomain.html
    """
    tree = document(request).to_xml_tree(exclude_none=True)
    indent(tree)
    return tostring(tree, encoding="unicode") + "\n"


def document(request: DomainRequest) -> Document:
    """The domain as a model."""
    return Document(
        type="kvm" if request.accelerator == "kvm" else "qemu",
        name=request.domain_name,
        uuid=request.domain_uuid,
        metadata=Metadata(owner=owner_of(request)),
        max_memory=max_memory(request),
        memory=memory(request),
        current_memory=current_memory(request),
        vcpu=vcpu(request.cpu),
        os=os_element(request),
        features=features_element(request),
        cpu=cpu_element(request),
        devices=devices_element(request),
    )
