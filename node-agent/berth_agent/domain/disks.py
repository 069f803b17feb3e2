"""`<disk>`: the VM's disks and its seed.

cache=none: what the guest was told is written is on the storage, and a migration finds it there; libvirt refuses to
migrate anything else safely. io=threads: native AIO blocks the guest where a sparse file has to grow. discard and
detect_zeroes give space back that the guest trims or overwrites with zeroes. error_policy=stop: a full or absent
storage pauses the guest, with an event, where an I/O error would break its file systems.

The seed is a read-only virtio disk, not a CD-ROM: it needs no driver that the root disk does not need as well.
"""

from hashlib import sha256
from string import ascii_lowercase
from typing import Literal

from pydantic_xml import attr, element

from berth_agent.domain.elements import Element
from berth_agent.domain.requests import DiskBus, DiskFormat, DomainDisk, DomainRequest

SEED_TARGET = "vdz"
"""Past every target that a VM's 24 disks can have: adding a disk does not rename the seed."""
_MAX_SERIAL = 20
"""Bytes that virtio-blk can tell the guest (virtio 1.2, section 5.2.6: VIRTIO_BLK_T_GET_ID)."""
_PREFIX: dict[DiskBus, str] = {"virtio": "vd", "scsi": "sd", "sata": "sd"}


class Driver(Element, tag="driver"):
    """How QEMU reads and writes the file."""

    name: Literal["qemu"] = attr(default="qemu")
    type: DiskFormat = attr()
    cache: Literal["none", "writeback"] = attr(default="none")
    error_policy: Literal["stop"] | None = attr(default=None)
    io: Literal["threads"] | None = attr(default=None)
    discard: Literal["unmap"] | None = attr(default=None)
    detect_zeroes: Literal["unmap"] | None = attr(default=None)


class Source(Element, tag="source"):
    """The disk's file."""

    file: str = attr()


class Target(Element, tag="target"):
    """Where the guest finds the disk."""

    dev: str = attr()
    bus: DiskBus = attr()


class ReadOnly(Element, tag="readonly"):
    """The guest cannot write."""


class Boot(Element, tag="boot"):
    """Place in the firmware's boot order."""

    order: int = attr()


class DiskElement(Element, tag="disk"):
    """A disk of the guest."""

    type: Literal["file"] = attr(default="file")
    device: Literal["disk"] = attr(default="disk")
    driver: Driver
    source: Source
    target: Target
    readonly: ReadOnly | None = None
    serial: str | None = element(tag="serial", default=None)
    wwn: str | None = element(tag="wwn", default=None)
    boot: Boot | None = None


def disk_elements(request: DomainRequest) -> tuple[DiskElement, ...]:
    """Every disk in the VM's order, and the seed after them."""
    orders = _boot_orders(request)
    targets = _targets(request.disks)
    disks = tuple(_disk(request.uid, disk, targets[disk.name], orders.get(disk.name)) for disk in request.disks)
    return disks if request.seed_path is None else (*disks, _seed(request.seed_path))


def serial(name: str) -> str:
    """What the guest sees in /dev/disk/by-id: the disk's name, shortened so that two long ones stay apart."""
    if len(name) <= _MAX_SERIAL:
        return name
    return f"{name[: _MAX_SERIAL - 9]}-{sha256(name.encode()).hexdigest()[:8]}"


def world_wide_name(uid: str, name: str) -> str:
    """A locally assigned NAA identifier (type 3) that stays the disk's wherever the VM runs."""
    return "3" + sha256(f"{uid}/{name}".encode()).hexdigest()[:15]


def _boot_orders(request: DomainRequest) -> dict[str, int]:
    """The first disk boots, unless a boot order or a kernel says otherwise."""
    given = {disk.name: disk.boot_order for disk in request.disks if disk.boot_order is not None}
    if given or request.kernel is not None or not request.disks:
        return given
    return {request.disks[0].name: 1}


def _targets(disks: tuple[DomainDisk, ...]) -> dict[str, str]:
    """A device name for each disk, counted for each prefix by itself."""
    counted: dict[str, int] = {}
    targets = {}
    for disk in disks:
        prefix = _PREFIX[disk.bus]
        index = counted.get(prefix, 0)
        counted[prefix] = index + 1
        targets[disk.name] = prefix + ascii_lowercase[index]
    return targets


def _disk(uid: str, disk: DomainDisk, target: str, order: int | None) -> DiskElement:
    return DiskElement(
        driver=Driver(type=disk.format, error_policy="stop", io="threads", discard="unmap", detect_zeroes="unmap"),
        source=Source(file=disk.path),
        target=Target(dev=target, bus=disk.bus),
        serial=serial(disk.name),
        wwn=world_wide_name(uid, disk.name) if disk.bus == "scsi" else None,
        boot=None if order is None else Boot(order=order),
    )


def _seed(path: str) -> DiskElement:
    return DiskElement(
        driver=Driver(type="raw"),
        source=Source(file=path),
        target=Target(dev=SEED_TARGET, bus="virtio"),
        readonly=ReadOnly(),
        serial="cidata",
    )
