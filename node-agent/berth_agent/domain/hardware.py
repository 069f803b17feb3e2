"""What a spec says of the guest's hardware, in parts: where one differs from a running guest's, it needs a restart.

Over what was asked for, not over the XML: a version of Berth that writes a new element must not make every running VM
look outdated. What belongs to this node or to one incarnation (paths, taps, the claim) is in no part, and neither is
what was left at its default, so that a new field changes no hash. CPU sockets and the memory's size are in no part
either: they can change while the guest runs, and are compared by value.
"""

from collections.abc import Mapping
from hashlib import sha256
from json import dumps
from typing import Any

from berth_api.hardware import CPU, Memory
from berth_api.quantities import to_bytes
from berth_api.virtualmachines import CloudInit, Disk, NetworkInterface, VirtualMachineSpec

_DIGITS = 16
"""Of SHA-256, in hexadecimal: 64 bits tell one VM's few versions apart."""


def parts_of(spec: VirtualMachineSpec, cpu: CPU, memory: Memory, machine_type: str) -> Mapping[str, str]:
    """A short hash for each aspect of the hardware, by the name of the spec's field.

    The order of disks and NICs counts, as the guest sees it: in device names, slots and the boot order. That of CPU
    features and SSH keys does not.

    Args:
        spec: The VM's.
        cpu: Its own, or its class's.
        memory: Likewise.
        machine_type: Canonical, as decided for the next start.
    """
    parts: dict[str, Any] = {
        "cpu": _cpu(cpu),
        "memory": None if memory.max_size is None else to_bytes(memory.max_size),
        "firmware": spec.firmware.model_dump(mode="json", exclude_defaults=True),
        "machineType": machine_type,
        "disks": [_disk(disk) for disk in spec.disks],
        "networks": [_nic(nic) for nic in spec.interfaces],
        "cloudInit": None if spec.cloud_init is None else _cloud_init(spec.cloud_init),
    }
    return {name: _hash(value) for name, value in parts.items()}


def _cpu(cpu: CPU) -> dict[str, Any]:
    asked = cpu.model_dump(mode="json", exclude_defaults=True, exclude={"sockets"})
    return asked | ({"features": sorted(set(cpu.features))} if cpu.features else {})


def _disk(disk: Disk) -> dict[str, Any]:
    """With the size in bytes: 1Gi and 1024Mi are no other disk."""
    asked = disk.model_dump(mode="json", exclude_defaults=True)
    return asked if disk.size is None else asked | {"size": to_bytes(disk.size)}


def _nic(nic: NetworkInterface) -> dict[str, Any]:
    return nic.model_dump(mode="json", exclude_defaults=True)


def _cloud_init(asked: CloudInit) -> dict[str, Any]:
    values = asked.model_dump(mode="json", exclude_defaults=True)
    keys = sorted(set(asked.ssh_authorized_keys))
    return values | ({"ssh_authorized_keys": keys} if keys else {})


def _hash(value: Any) -> str:
    return sha256(dumps(value, sort_keys=True).encode()).hexdigest()[:_DIGITS]
