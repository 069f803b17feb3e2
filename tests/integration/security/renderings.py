"""What a node would make of a VM that the API server has taken, by the agent's own pure functions."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import yaml

from berth_agent.domain.documents import build
from berth_agent.domain.hardware import parts_of
from berth_agent.domain.requests import DirectKernel, DomainDisk, DomainInterface, DomainRequest
from berth_agent.network.attachments import Attachment
from berth_agent.network.leases import dnsmasq_arguments, lease_of
from berth_agent.storage.cloud_init import META_DATA, NETWORK_CONFIG, USER_DATA, Seed, SeedInterface, documents
from berth_api.hardware import CPU, Memory
from berth_api.quantities import to_bytes
from berth_api.virtualmachines import VirtualMachine

_MACHINE = "pc-q35-7.2"
_BASE = "/var/lib/berth"


@dataclass(frozen=True)
class Rendering:
    """A VM's domain, seed and DHCP servers."""

    domain: Element
    meta_data: Any
    network_config: Any
    user_data: bytes
    dhcp: tuple[tuple[str, ...], ...]
    """dnsmasq's arguments, one server for each NIC."""

    @property
    def shape(self) -> tuple[object, ...]:
        """Everything but the values: elements and attributes, keys, options and how many fields each has."""
        return (
            tuple(_elements(self.domain, "")),
            tuple(_keys(self.meta_data, "")),
            tuple(_keys(self.network_config, "")),
            tuple(tuple((argument.split("=")[0], argument.count(",")) for argument in server) for server in self.dhcp),
        )


def rendering(body: dict[str, Any]) -> Rendering:
    """What a node would make of the object."""
    vm = VirtualMachine.from_api(body)
    seed = documents(
        Seed(
            vm_uid=vm.metadata.uid,
            vm_name=vm.metadata.name,
            interfaces=tuple(
                SeedInterface(name=nic.name, mac_address=_mac(nic.mac_address, index), addresses=_addresses(index))
                for index, nic in enumerate(vm.spec.interfaces)
            ),
            ssh_authorized_keys=vm.spec.cloud_init.ssh_authorized_keys if vm.spec.cloud_init else (),
            user_data=_user_data(vm),
        )
    )
    return Rendering(
        domain=fromstring(build(_request(vm))),  # noqa: S314 - what is tested is that it is ours
        meta_data=yaml.safe_load(seed[META_DATA]),
        network_config=yaml.safe_load(seed[NETWORK_CONFIG]),
        user_data=seed[USER_DATA],
        dhcp=tuple(_dhcp(vm, index) for index in range(len(vm.spec.interfaces))),
    )


def _request(vm: VirtualMachine) -> DomainRequest:
    cpu, memory = vm.spec.cpu or CPU(), vm.spec.memory or Memory(size="1Gi")
    kernel = vm.spec.firmware.kernel
    return DomainRequest(
        namespace=vm.metadata.namespace,
        name=vm.metadata.name,
        uid=vm.metadata.uid,
        claim_id="c1",
        generation=vm.metadata.generation,
        cpu=cpu,
        memory=to_bytes(memory.size),
        accelerator="kvm",
        machine_type=_MACHINE,
        firmware=vm.spec.firmware,
        disks=tuple(
            DomainDisk(
                name=disk.name, path=f"{_BASE}/disks/{disk.name}.qcow2", bus=disk.bus, boot_order=disk.boot_order
            )
            for disk in vm.spec.disks
        ),
        seed_path=f"{_BASE}/seeds/{vm.metadata.uid}.iso",
        interfaces=tuple(
            DomainInterface(name=nic.name, tap_device=f"bt{index}", mac_address=_mac(nic.mac_address, index))
            for index, nic in enumerate(vm.spec.interfaces)
        ),
        kernel=DirectKernel(path=f"{_BASE}/images/k", command_line=kernel.command_line) if kernel else None,
        console_log_path=f"{_BASE}/consoles/{vm.metadata.uid}.log",
        restarted_at=vm.spec.restarted_at.isoformat() if vm.spec.restarted_at else "",
        parts=parts_of(vm.spec, cpu, memory, _MACHINE),
    )


def _dhcp(vm: VirtualMachine, index: int) -> tuple[str, ...]:
    nic = vm.spec.interfaces[index]
    attachment = Attachment(
        interface=nic.name,
        container_id="c",
        sandbox="s",
        tap_device=f"bt{index}",
        mac_address=_mac(nic.mac_address, index),
        ip_addresses=_addresses(index),
        gateway="10.0.0.1",
        dns_servers=("10.0.0.2",),
        mtu=1500,
    )
    lease = lease_of(attachment, vm.metadata.name)
    assert lease is not None
    return tuple(dnsmasq_arguments(lease, Path(f"{_BASE}/dhcp/c.pid"), "nobody"))


def _user_data(vm: VirtualMachine) -> bytes | None:
    asked = vm.spec.cloud_init
    return asked.user_data.encode() if asked is not None and asked.user_data is not None else None


def _mac(asked: str | None, index: int) -> str:
    return asked or f"52:54:00:00:00:0{index}"


def _addresses(index: int) -> tuple[str, ...]:
    return (f"10.0.0.{index + 5}/24",)


def _elements(element: Element, path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    path = f"{path}/{element.tag}"
    yield path, tuple(sorted(element.keys()))
    for child in element:
        yield from _elements(child, path)


def _keys(value: Any, path: str) -> Iterator[str]:
    """Paths of all values; what a list has more of, and what interfaces are called, is the user's to say."""
    if isinstance(value, dict):
        for index, (key, item) in enumerate(value.items()):
            assert isinstance(key, str), f"{path}: {key!r} was text"
            yield from _keys(item, f"{path}/{index if path == '/ethernets' else key}")
    elif isinstance(value, list):
        yield path
        assert all(isinstance(item, str | dict) for item in value), f"{path}: {value!r} was text"
    else:
        yield path
