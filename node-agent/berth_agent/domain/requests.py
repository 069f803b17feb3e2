"""What a domain is built from: everything resolved, nothing left to look up.

The API server has checked what users wrote, but an object may be older than a rule, and a path or device name comes
from this node: so everything that ends up in the XML is checked here again, where a mistake would become a domain.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from re import compile as regex
from types import MappingProxyType
from typing import Any, Literal
from unicodedata import category

from berth_api.hardware import CPU
from berth_api.virtualmachines import Firmware

Accelerator = Literal["kvm", "tcg"]
DiskFormat = Literal["qcow2", "raw"]
DiskBus = Literal["virtio", "scsi", "sata"]

_LABEL = regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_UUID = regex(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC = regex(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")
_DEVICE = regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
_CLAIM = regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_MACHINE = regex(r"q35|pc-q35-[a-z0-9]([a-z0-9.-]{0,54}[a-z0-9])?")
_MODEL = regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_FEATURE = regex(r"[a-z0-9][a-z0-9._-]{0,62}")
_PART = regex(r"[A-Za-z][A-Za-z0-9]{0,62}")
_HASH = regex(r"[0-9a-f]{1,64}")
_MAX_TEXT = 64
_FORBIDDEN = frozenset(("Cc", "Cs", "Cn"))
_MIN_MEMORY = 16 * 1024 * 1024
_MIN_MTU, _MAX_MTU = 68, 65535
_MAX_QUEUES = 256
_MAX_DISKS = 24


class InvalidDomainRequest(ValueError):
    """The request cannot become a domain; the message names the field and what to change."""


@dataclass(frozen=True, kw_only=True)
class DomainDisk:
    """A disk whose file is there."""

    name: str
    path: str
    format: DiskFormat = "qcow2"
    bus: DiskBus = "virtio"
    boot_order: int | None = None


@dataclass(frozen=True, kw_only=True)
class DomainInterface:
    """A NIC whose tap is there."""

    name: str
    tap_device: str
    """A persistent tap in the node's network namespace, made with vnet_hdr (and multi_queue where queues > 1)."""
    mac_address: str
    mtu: int | None = None
    """Bytes; left out: what the guest's driver takes by itself, 1500."""
    queues: int = 1


@dataclass(frozen=True, kw_only=True)
class DirectKernel:
    """A kernel that QEMU loads by itself."""

    path: str
    initrd_path: str | None = None
    command_line: str = ""


@dataclass(frozen=True, kw_only=True)
class DomainRequest:
    """A VM ready to be made: its files and taps are there, its machine type is decided.

    Raises:
        InvalidDomainRequest: a value is out of bounds, or could be taken for something else in the XML, a path or an
            interface name.
    """

    namespace: str
    name: str
    uid: str
    claim_id: str
    generation: int
    cpu: CPU
    memory: int
    """Bytes that the guest boots with."""
    memory_max: int | None = None
    """Bytes that the running guest can be given at most; left out: what it boots with."""
    accelerator: Accelerator
    machine_type: str
    """A canonical type such as pc-q35-7.2, kept over the VM's life: the guest's hardware must not change under it."""
    firmware: Firmware = field(default_factory=Firmware)
    disks: tuple[DomainDisk, ...] = ()
    seed_path: str | None = None
    """An ISO9660 image with the NoCloud seed."""
    interfaces: tuple[DomainInterface, ...] = ()
    kernel: DirectKernel | None = None
    console_log_path: str
    """File to which the guest's serial console is appended; virtlogd rotates it."""
    restarted_at: str = ""
    """`spec.restartedAt` that the domain is made for, as text; empty where there is none."""
    cluster: str = ""
    """Identity of the cluster that the VM is in; empty: not known."""
    machine_id: str = ""
    """What the guest knows itself by, where that is not its VM's UID: it was another's. Empty: it is."""
    parts: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What the guest is made from, a hash for each aspect: `berth_agent.domain.hardware.parts_of`. Without order."""

    def __post_init__(self) -> None:
        """Check everything once, so that no element has to."""
        object.__setattr__(self, "parts", MappingProxyType(dict(sorted(self.parts.items()))))
        _check_text(self, "")
        _check_identity(self)
        for index, disk in enumerate(self.disks):
            _check_disk(disk, f"disks[{index}]")
        for index, interface in enumerate(self.interfaces):
            _check_interface(interface, f"interfaces[{index}]")
        _check_boot(self)
        _check_unique(self)

    @property
    def domain_name(self) -> str:
        """Unique on a node, and readable: neither part can hold the separator."""
        return f"{self.namespace}_{self.name}"

    @property
    def domain_uuid(self) -> str:
        """The UUID of the domain, which the guest sees in its SMBIOS tables."""
        return self.firmware.uuid or self.machine_id or self.uid


def _check_text(value: Any, where: str) -> None:
    """Refuse what XML 1.0 cannot carry (section 2.2), and every other control character with it."""
    if isinstance(value, str):
        bad = next((c for c in value if category(c) in _FORBIDDEN), None)
        if bad is not None:
            raise InvalidDomainRequest(f"{where} holds the character U+{ord(bad):04X}: use printable characters only")
    elif is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            _check_text(getattr(value, item.name), f"{where}.{item.name}".lstrip("."))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            _check_text(item, f"{where}[{index}]")


def _match(pattern: Callable[[str], Any], value: str, where: str, wanted: str) -> None:
    if pattern(value) is None:
        raise InvalidDomainRequest(f"{where} is {value!r}: it must be {wanted}")


def _check_identity(request: DomainRequest) -> None:
    label = "a DNS label: a-z, 0-9 and '-', at most 63 characters"
    _match(_LABEL.fullmatch, request.namespace, "namespace", label)
    _match(_LABEL.fullmatch, request.name, "name", label)
    _match(_UUID.fullmatch, request.uid, "uid", "a UUID in lower case")
    _match(_UUID.fullmatch, request.domain_uuid, "firmware.uuid", "a UUID in lower case")
    _match(_CLAIM.fullmatch, request.claim_id, "claim_id", "letters, digits, '.', '_' and '-'")
    _match(_MACHINE.fullmatch, request.machine_type, "machine_type", "a q35 machine type such as pc-q35-7.2")
    if request.cpu.model is not None:
        _match(_MODEL.fullmatch, request.cpu.model, "cpu.model", "a CPU model's name such as Haswell")
    for index, feature in enumerate(request.cpu.features):
        _match(_FEATURE.fullmatch, feature, f"cpu.features[{index}]", "a CPU feature's name such as avx2")
    if request.cpu.max_sockets is not None and request.cpu.max_sockets < request.cpu.sockets:
        raise InvalidDomainRequest(f"cpu.maxSockets is {request.cpu.max_sockets}: it must be at least cpu.sockets")
    if request.memory < _MIN_MEMORY:
        raise InvalidDomainRequest(f"memory is {request.memory} bytes: a guest needs at least 16Mi")
    if request.memory_max is not None and request.memory_max < request.memory:
        raise InvalidDomainRequest(f"memory.maxSize is {request.memory_max} bytes: it must be at least memory.size")
    if len(request.restarted_at) > _MAX_TEXT:
        raise InvalidDomainRequest(f"restarted_at has {len(request.restarted_at)} characters: it is a time")
    for name, text in request.parts.items():
        _match(_PART.fullmatch, name, "parts", "named by letters and digits")
        _match(_HASH.fullmatch, text, f"parts[{name}]", "a hash in hexadecimal digits")
    _check_path(request.console_log_path, "console_log_path")


def _check_disk(disk: DomainDisk, where: str) -> None:
    _match(_LABEL.fullmatch, disk.name, f"{where}.name", "a DNS label")
    _check_path(disk.path, f"{where}.path")
    if disk.boot_order is not None and disk.boot_order < 1:
        raise InvalidDomainRequest(f"{where}.boot_order is {disk.boot_order}: orders count from 1")


def _check_interface(interface: DomainInterface, where: str) -> None:
    _match(_LABEL.fullmatch, interface.name, f"{where}.name", "a DNS label")
    _match(_DEVICE.fullmatch, interface.tap_device, f"{where}.tap_device", "an interface name of at most 15 characters")
    _match(_MAC.fullmatch, interface.mac_address, f"{where}.mac_address", "a unicast MAC address in lower case")
    if interface.mtu is not None and not _MIN_MTU <= interface.mtu <= _MAX_MTU:
        raise InvalidDomainRequest(f"{where}.mtu is {interface.mtu}: it must be from {_MIN_MTU} to {_MAX_MTU}")
    if not 1 <= interface.queues <= _MAX_QUEUES:
        raise InvalidDomainRequest(f"{where}.queues is {interface.queues}: it must be from 1 to {_MAX_QUEUES}")


def _check_boot(request: DomainRequest) -> None:
    if request.seed_path is not None:
        _check_path(request.seed_path, "seed_path")
    if request.kernel is not None:
        _check_path(request.kernel.path, "kernel.path")
        if request.kernel.initrd_path is not None:
            _check_path(request.kernel.initrd_path, "kernel.initrd_path")
        if request.firmware.type == "EFI":
            raise InvalidDomainRequest("direct kernel boot needs firmware type BIOS")
    elif not request.disks:
        raise InvalidDomainRequest("the VM has nothing to boot from: give it a disk or a kernel")
    if request.firmware.secure_boot and request.firmware.type != "EFI":
        raise InvalidDomainRequest("secureBoot needs firmware type EFI")


def _check_unique(request: DomainRequest) -> None:
    if len(request.disks) > _MAX_DISKS:
        raise InvalidDomainRequest(f"{len(request.disks)} disks: a VM has at most {_MAX_DISKS}")
    named: tuple[tuple[str, list[str | int]], ...] = (
        ("disk name", [disk.name for disk in request.disks]),
        ("disk path", [disk.path for disk in request.disks]),
        ("boot order", [disk.boot_order for disk in request.disks if disk.boot_order is not None]),
        ("interface name", [interface.name for interface in request.interfaces]),
        ("tap device", [interface.tap_device for interface in request.interfaces]),
        ("MAC address", [interface.mac_address for interface in request.interfaces]),
    )
    for what, values in named:
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise InvalidDomainRequest(f"{what} {twice} is given twice: each must be unique in a VM")


def _check_path(path: str, where: str) -> None:
    parts = path.split("/")
    if not path.startswith("/") or path.endswith("/") or any(part in ("", ".", "..") for part in parts[1:]):
        raise InvalidDomainRequest(f"{where} is {path!r}: it must be an absolute path without '.' and '..'")
