"""What the node can run, as libvirt and QEMU tell it.

CPU features are those of libvirt's host-model for the accelerator: under KVM what the host has and QEMU can pass on,
under TCG what the emulator has, which is neither more nor less than the host's. It is given as a named model with
features on top and features taken away; a baseline over it alone, with all features spelled out, leaves nothing to be
read between the lines. Measured with libvirt 9.0 under TCG: a guest starts with each of these 75, and with no other.
Source: libvirt "Domain capabilities", section "CPU configuration"; virConnectBaselineHypervisorCPU.
"""

from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, tostring

import libvirt
import structlog

from berth_agent.domain.requests import Accelerator
from berth_agent.hypervisor.descriptions import parse
from berth_agent.hypervisor.errors import OperationFailed
from berth_agent.hypervisor.failures import is_broken, message_of
from berth_agent.hypervisor.states import HostCapabilities

log = structlog.get_logger()

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
    virt_type = _VIRT_TYPE[accelerator]
    domain = parse(connection.getDomainCapabilities(None, ARCHITECTURE, default, virt_type, 0))
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
        cpu_features=_features(connection, domain, default, virt_type),
        host_model=cpu.host_model,
        efi=efi,
        secure_boot=efi and "yes" in _values(domain, "os/loader/enum[@name='secure']"),
    )


def machine_types(capabilities: Element) -> tuple[tuple[str, ...], str]:
    """Canonical machine types of the family that guests get, and the one q35 stands for.

    Deprecated ones too: a VM keeps the type that it was made with, also after QEMU was upgraded under it.

    Raises:
        OperationFailed: there are none.
    """
    machines = capabilities.findall(f"guest/arch[@name='{ARCHITECTURE}']/machine")
    default = next((item.get("canonical", "") for item in machines if item.text == _FAMILY), "")
    if not default:
        raise OperationFailed("libvirt has no machine type q35 for x86-64: install qemu-system-x86")
    names = {item.get("canonical") or item.text or "" for item in machines}
    return tuple(sorted(name for name in names if name.startswith(f"pc-{_FAMILY}-"))), default


def _cpu(domain: Element) -> _Cpu:
    custom = domain.iterfind("cpu/mode[@name='custom']/model")
    return _Cpu(
        models=tuple(sorted({item.text or "" for item in custom if item.get("usable") == "yes"})),
        host_model=domain.findtext("cpu/mode[@name='host-model']/model", ""),
    )


def _features(connection: Any, domain: Element, machine: str, virt_type: str) -> tuple[str, ...]:
    mode = domain.find("cpu/mode[@name='host-model']")
    if mode is None or mode.findtext("model") is None:
        return ()
    cpu = Element("cpu")
    cpu.extend(mode)
    flags = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
    try:
        text = connection.baselineHypervisorCPU(
            None, ARCHITECTURE, machine, virt_type, [tostring(cpu, encoding="unicode")], flags
        )
    except libvirt.libvirtError as error:
        if is_broken(connection):
            raise
        log.warning(
            "libvirt does not tell the CPU's features: no VM that asks for one runs here", error=message_of(error)
        )
        return ()
    return required_features(parse(text))


def required_features(cpu: Element) -> tuple[str, ...]:
    """Names of the features that a `<cpu>` has, without those that its model would bring and that are taken away."""
    return tuple(sorted({item.get("name", "") for item in cpu.iterfind("feature") if item.get("policy") != "disable"}))


def _values(domain: Element, path: str) -> tuple[str, ...]:
    return tuple(item.text or "" for item in domain.iterfind(f"{path}/value"))


def _version(number: int) -> str:
    """Libvirt's way to write versions: 1,000,000 * major + 1,000 * minor + release."""
    return f"{number // _MILLION}.{number % _MILLION // _THOUSAND}.{number % _THOUSAND}"
