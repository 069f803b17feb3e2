"""What the node can run, as libvirt and QEMU tell it."""

from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import libvirt

from berth_agent.domain.requests import Accelerator
from berth_agent.hypervisor.descriptions import parse
from berth_agent.hypervisor.errors import OperationFailed
from berth_agent.hypervisor.states import HostCapabilities

ARCHITECTURE = "x86_64"
_FAMILY = "q35"
_KIB = 1024
_VIRT_TYPE = {"kvm": "kvm", "tcg": "qemu"}
_MILLION, _THOUSAND = 1_000_000, 1000


@dataclass(frozen=True)
class _Cpu:
    models: tuple[str, ...]
    host_model: str


def read_capabilities(connection: Any, accelerator: Accelerator) -> HostCapabilities:
    """What guests can have here, under this accelerator.

    Raises:
        OperationFailed: QEMU for x86-64, or its machine type q35, is not there.
    """
    machines, default = machine_types(parse(connection.getCapabilities()))
    text = connection.getDomainCapabilities(None, ARCHITECTURE, default, _VIRT_TYPE[accelerator], 0)
    domain = parse(text)
    cpu = _cpu(domain)
    efi = "efi" in _values(domain, "os/enum[@name='firmware']")
    return HostCapabilities(
        accelerator=accelerator,
        architecture=ARCHITECTURE,
        cpus=int(connection.getInfo()[2]),
        memory=int(connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]) * _KIB,
        libvirt_version=_version(connection.getLibVersion()),
        hypervisor_version=_version(connection.getVersion()),
        machine_types=machines,
        default_machine_type=default,
        cpu_models=cpu.models,
        host_model=cpu.host_model,
        efi=efi,
        secure_boot=efi and "yes" in _values(domain, "os/loader/enum[@name='secure']"),
    )


def machine_types(capabilities: Element) -> tuple[tuple[str, ...], str]:
    """Canonical machine types of the family that guests get, without deprecated ones, and the one q35 stands for.

    Raises:
        OperationFailed: there are none.
    """
    machines = capabilities.findall(f"guest/arch[@name='{ARCHITECTURE}']/machine")
    default = next((item.get("canonical", "") for item in machines if item.text == _FAMILY), "")
    if not default:
        raise OperationFailed("libvirt has no machine type q35 for x86-64: install qemu-system-x86")
    names = {item.get("canonical") or item.text or "" for item in machines if item.get("deprecated") != "yes"}
    return tuple(sorted(name for name in names if name.startswith(f"pc-{_FAMILY}-"))), default


def _cpu(domain: Element) -> _Cpu:
    custom = domain.iterfind("cpu/mode[@name='custom']/model")
    return _Cpu(
        models=tuple(sorted({item.text or "" for item in custom if item.get("usable") == "yes"})),
        host_model=domain.findtext("cpu/mode[@name='host-model']/model", ""),
    )


def _values(domain: Element, path: str) -> tuple[str, ...]:
    return tuple(item.text or "" for item in domain.iterfind(f"{path}/value"))


def _version(number: int) -> str:
    """Libvirt's way to write versions: 1,000,000 * major + 1,000 * minor + release."""
    return f"{number // _MILLION}.{number % _MILLION // _THOUSAND}.{number % _THOUSAND}"
