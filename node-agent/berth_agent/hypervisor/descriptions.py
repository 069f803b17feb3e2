"""From libvirt's description of a domain to a `DomainState`.

The XML comes from libvirtd, which parsed and wrote it itself: it has no document type, so nothing can expand in it.
"""

from dataclasses import dataclass
from types import MappingProxyType
from xml.etree.ElementTree import Element, fromstring, tostring

from berth_agent.domain.metadata import NAMESPACE_URI, MetadataError, Owner
from berth_agent.hypervisor import notes
from berth_agent.hypervisor.states import DomainDisk, DomainInterface, DomainOwner, DomainPower, DomainState

OWNER_TAG = f"{{{NAMESPACE_URI}}}vm"
VIRTIO_MEM = "devices/memory[@model='virtio-mem']"
_UNITS = {"b": 1, "bytes": 1, "KiB": 2**10, "k": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
AGENT_CHANNEL = "org.qemu.guest_agent.0"


@dataclass(frozen=True)
class LiveFacts:
    """What libvirt tells of a domain outside its XML."""

    power: DomainPower
    power_reason: str


def owner_in(root: Element) -> Owner | None:
    """The record of ours in a domain's XML; None where there is none.

    Raises:
        MetadataError: there is one, and it is not readable.
    """
    found = root.findall(f"metadata/{OWNER_TAG}")
    if not found:
        return None
    if len(found) > 1:
        raise MetadataError("the domain names more than one owner")
    return Owner.read(tostring(found[0], encoding="unicode"))


def parse(xml: str) -> Element:
    """The tree of a domain's XML."""
    return fromstring(xml)  # noqa: S314 - written by libvirtd, see above


def describe(root: Element, owner: Owner, facts: LiveFacts) -> DomainState:
    """Everything that the agent wants to know of a domain of ours."""
    noted = notes.read(root, active=facts.power.is_active)
    return DomainState(
        owner=DomainOwner(owner.namespace, owner.name, owner.uid),
        uuid=root.findtext("uuid", ""),
        name=root.findtext("name", ""),
        power=facts.power,
        power_reason=facts.power_reason,
        claim_id=owner.claim_id,
        generation=owner.generation,
        machine_type=_attribute(root, "os/type", "machine"),
        vcpus=current_vcpus(root),
        max_vcpus=max_vcpus(root),
        boot_memory=boot_memory(root),
        memory=boot_memory(root) + _plugged_memory(root),
        max_memory=boot_memory(root) + pluggable_memory(root),
        cluster=owner.cluster or "",
        restarted_at=owner.restarted_at or "",
        parts=MappingProxyType({part.name: part.digest for part in owner.parts}),
        interfaces=tuple(_interface(item) for item in root.iterfind("devices/interface")),
        disks=tuple(_disk(item) for item in root.iterfind("devices/disk")),
        console=_attribute(root, "devices/serial/source", "path"),
        guest_agent_connected=_agent_connected(root),
        started_at=noted.started_at,
        boot_id=noted.boot_id,
        asked_to_stop_at=noted.asked_to_stop_at,
        asked_to_stop_for=noted.asked_to_stop_for,
    )


def _attribute(parent: Element, path: str, name: str) -> str:
    found = parent.find(path)
    return "" if found is None else found.get(name, "")


def _interface(item: Element) -> DomainInterface:
    return DomainInterface(mac_address=_attribute(item, "mac", "address"), device=_attribute(item, "target", "dev"))


def _disk(item: Element) -> DomainDisk:
    return DomainDisk(
        target=_attribute(item, "target", "dev"),
        source=_attribute(item, "source", "file") or _attribute(item, "source", "dev"),
        serial=item.findtext("serial", ""),
    )


def _agent_connected(root: Element) -> bool:
    return any(
        target.get("name") == AGENT_CHANNEL and target.get("state") == "connected"
        for target in root.iterfind("devices/channel/target")
    )


def current_vcpus(root: Element) -> int:
    """CPUs that the guest has, or starts with."""
    found = root.find("vcpu")
    return 0 if found is None else _whole(found.get("current") or found.text or "")


def max_vcpus(root: Element) -> int:
    """CPUs that the domain has room for."""
    return _whole(root.findtext("vcpu", ""))


def boot_memory(root: Element) -> int:
    """Bytes that the guest boots with: libvirt's `<memory>` holds what can be plugged in as well."""
    return size_of(root.find("memory")) - pluggable_memory(root)


def pluggable_memory(root: Element) -> int:
    """Bytes that the guest can be given while it runs, or has been given."""
    return sum(size_of(device.find("target/size")) for device in root.iterfind(VIRTIO_MEM))


def _plugged_memory(root: Element) -> int:
    """What the guest was given counts at once; what was asked back counts until the guest has let go of it."""
    return sum(
        max(size_of(device.find("target/requested")), size_of(device.find("target/current")))
        for device in root.iterfind(VIRTIO_MEM)
    )


def size_of(item: Element | None) -> int:
    """A size; without a unit libvirt means KiB (libvirt, "Domain XML format", element memory)."""
    if item is None:
        return 0
    return _whole(item.text or "") * _UNITS.get(item.get("unit", "KiB"), 0)


def _whole(text: str) -> int:
    return int(text) if text.strip().isdecimal() else 0
