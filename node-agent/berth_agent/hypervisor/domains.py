"""What is done with domains, as plain blocking functions over a libvirt connection.

Each begins by finding the VM's domain through its metadata. A look-up by UUID is tried first, the UUID being the VM's
UID unless its owner chose another; what is found that way must carry the metadata too. Domains of others are never
returned, so nothing here can touch one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import ParseError

import libvirt
import structlog

from berth_agent.domain.metadata import NAMESPACE_URI, MetadataError, Owner
from berth_agent.hypervisor.descriptions import LiveFacts, describe, owner_in, parse
from berth_agent.hypervisor.errors import (
    DomainExists,
    DomainNotFound,
    DomainRejected,
    OperationFailed,
    OperationInvalid,
)
from berth_agent.hypervisor.failures import is_broken, is_code, message_of
from berth_agent.hypervisor.handovers import write_owner
from berth_agent.hypervisor.notes import note_start, note_stop
from berth_agent.hypervisor.powers import power_of
from berth_agent.hypervisor.states import DomainOwner, DomainState

log = structlog.get_logger()

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


@dataclass(frozen=True)
class Search:
    """Where to look for a VM's domain."""

    uid: str
    uuid: str
    """The UUID that it most likely has."""
    others: frozenset[str] = frozenset()
    """UUIDs of domains that are known to be other VMs'."""


def list_domains(connection: Any) -> tuple[DomainState, ...]:
    """Every domain of ours. One that vanishes meanwhile is left out; one of ours that cannot be read fails the list."""
    states = (_read(connection, domain) for domain in connection.listAllDomains())
    return tuple(state for state in states if state is not None)


def get_domain(connection: Any, search: Search) -> DomainState | None:
    """The VM's domain; whose one is, its whole description says as well, so it is not asked for apart."""
    states = (_read(connection, candidate) for candidate in _candidates(connection, search))
    return next((state for state in states if state is not None and state.owner.uid == search.uid), None)


def find(connection: Any, search: Search) -> Any | None:
    """The VM's domain: under its UUID if that is right, else by looking at all that are nobody else's."""
    for candidate in _candidates(connection, search):
        owner = owner_of(candidate)
        if owner is not None and owner.uid == search.uid:
            return candidate
    return None


def must_find(connection: Any, search: Search) -> Any:
    """The VM's domain.

    Raises:
        DomainNotFound: there is none.
    """
    domain = find(connection, search)
    if domain is None:
        raise DomainNotFound(f"the VM {search.uid} has no domain on this node")
    return domain


def define_domain(connection: Any, xml: str, *, validate: bool = False) -> DomainState:
    """Define a domain of ours, and nothing else; with `validate`, only one that libvirt's schema knows all of."""
    owner, uuid, name = claimed(xml)
    _make_way(connection, owner, uuid, name)
    try:
        domain = connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE if validate else 0)
    except libvirt.libvirtError as error:
        if is_broken(connection):
            raise
        _make_way(connection, owner, uuid, name)
        raise DomainRejected(f"libvirt rejects the domain: {message_of(error)}") from error
    state = _read(connection, domain)
    if state is None:
        raise DomainNotFound(f"the domain {name} vanished while it was being defined")
    return state


def hand_over(connection: Any, search: Search, *, owner: DomainOwner, cluster: str) -> str | None:
    """Write another VM into the domain's record; its UUID, or None where there is no domain."""
    domain = find(connection, search)
    if domain is None:
        return None
    write_owner(domain, owner, cluster)
    return str(domain.UUIDString())


def start_domain(connection: Any, search: Search, *, paused: bool, boot_id: str = "") -> None:
    """Start the guest, unless it is active; its CPUs run once it is noted when, and in which run of the node."""
    domain = must_find(connection, search)
    try:
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_OPERATION_INVALID) and domain.isActive():
            return
        raise
    note_start(domain, boot_id)
    if not paused:
        domain.resume()


def resume_domain(connection: Any, search: Search, *, boot_id: str = "") -> None:
    """Let the guest's CPUs run; one that runs is left as it is."""
    domain = must_find(connection, search)
    if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
        note_start(domain, boot_id)
        domain.resume()


def suspend_domain(connection: Any, search: Search) -> None:
    """Stop the guest's CPUs; one that is stopped is left as it is."""
    domain = must_find(connection, search)
    if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
        domain.suspend()


def shut_domain_down(connection: Any, search: Search, *, agent: bool, reason: str = "") -> None:
    """Note why the guest is to power off, if a reason is given, and ask it to; one that is off is left as it is."""
    domain = must_find(connection, search)
    flags = libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT if agent else libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
    if reason and domain.isActive():
        note_stop(domain, reason)
    _unless_inactive(domain, lambda: domain.shutdownFlags(flags))


def destroy_domain(connection: Any, search: Search) -> None:
    """Pull the plug, if anything runs."""
    domain = find(connection, search)
    if domain is not None:
        _unless_inactive(domain, domain.destroy)


def undefine_domain(connection: Any, search: Search) -> None:
    """Forget the domain, if it is there.

    Raises:
        OperationInvalid: it is active. libvirt would make it transient: it would run on, known to nobody.
    """
    domain = find(connection, search)
    if domain is None:
        return
    try:
        if domain.isActive():
            raise OperationInvalid(f"the domain {domain.name()} is active: destroy it first")
        domain.undefineFlags(_UNDEFINE)
    except libvirt.libvirtError as error:
        if not is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
            raise


def owner_of(domain: Any) -> Owner | None:
    """Whose a domain is; None for one of others, one that has vanished, and one whose record is not readable."""
    try:
        return Owner.read(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE_URI))
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_DOMAIN_METADATA, libvirt.VIR_ERR_NO_DOMAIN):
            return None
        raise
    except MetadataError as error:
        log.warning("left a domain alone", domain=domain.name(), uuid=domain.UUIDString(), error=str(error))
        return None


def owner_of_uuid(connection: Any, uuid: str) -> Owner | None:
    """Whose the domain with this UUID is."""
    return next((owner_of(domain) for domain in _lookup(lambda: connection.lookupByUUIDString(uuid))), None)


def _candidates(connection: Any, search: Search) -> Iterator[Any]:
    yield from _lookup(lambda: connection.lookupByUUIDString(search.uuid))
    for domain in connection.listAllDomains():
        if domain.UUIDString() not in search.others:
            yield domain


def _lookup(look_up: Callable[[], Any]) -> Iterator[Any]:
    """Nothing or one domain."""
    try:
        domain = look_up()
    except libvirt.libvirtError as error:
        if not is_code(error, libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG):
            raise
        return
    yield domain


def _read(connection: Any, domain: Any) -> DomainState | None:
    """A domain of ours; None for one of others, for one that has vanished, and for one with a broken record."""
    try:
        return _read_all(domain)
    except MetadataError as error:
        log.warning("left a domain alone", domain=domain.name(), uuid=domain.UUIDString(), error=str(error))
        return None
    except (libvirt.libvirtError, ParseError) as error:
        if isinstance(error, libvirt.libvirtError):
            if is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
                return None
            if is_broken(connection):
                raise
        if owner_of(domain) is None:
            log.warning("passed over a domain that is not ours", domain=domain.name(), error=str(error))
            return None
        raise OperationFailed(f"the domain {domain.name()} cannot be read: {error}") from error


def _read_all(domain: Any) -> DomainState | None:
    root = parse(domain.XMLDesc())
    owner = owner_in(root)
    if owner is None:
        return None
    power, reason = power_of(*domain.state())
    facts = LiveFacts(power, reason)
    return describe(root, owner, facts)


def claimed(xml: str) -> tuple[Owner, str, str]:
    """Whose the XML says that it is, its UUID and its name.

    Raises:
        DomainRejected: it does not say so: such a domain could never be found, nor be destroyed.
    """
    try:
        root = parse(xml)
        owner = owner_in(root)
    except (ParseError, MetadataError) as error:
        raise DomainRejected(f"this is not a domain of ours: {error}") from error
    uuid, name = root.findtext("uuid", "").strip(), root.findtext("name", "").strip()
    if owner is None or not uuid or not name:
        raise DomainRejected("a domain must carry our metadata, a name and a UUID")
    return owner, uuid, name


def _make_way(connection: Any, owner: Owner, uuid: str, name: str) -> None:
    """See that name and UUID are free, or this VM's. Its own inactive domain under another UUID is forgotten.

    Raises:
        DomainExists: somebody else has one of them.
    """
    for same in _lookup(lambda: connection.lookupByUUIDString(uuid)):
        theirs = owner_of(same)
        if theirs is None or theirs.uid != owner.uid:
            raise DomainExists(
                f"the UUID {uuid} belongs to {_whose(same, theirs)}: give the VM another, or remove that"
            )
    for same in _lookup(lambda: connection.lookupByName(name)):
        theirs = owner_of(same)
        if theirs is None or theirs.uid != owner.uid:
            raise DomainExists(f"the name {name} belongs to {_whose(same, theirs)}: it has to go first")
        if same.UUIDString() != uuid:
            undefine_domain(connection, Search(owner.uid, same.UUIDString()))


def _whose(domain: Any, owner: Owner | None) -> str:
    if owner is None:
        return f"the domain {domain.name()} ({domain.UUIDString()}), which is not Berth's"
    return f"the VM {owner.namespace}/{owner.name} ({owner.uid})"


def _unless_inactive(domain: Any, act: Callable[[], Any]) -> None:
    """Do something that only an active domain needs; it can end at any moment."""
    try:
        act()
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_DOMAIN):
            return
        if is_code(error, libvirt.VIR_ERR_OPERATION_INVALID) and not domain.isActive():
            return
        raise
