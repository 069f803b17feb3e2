"""What the guest's agent is asked. What it answers is the guest's word: data to show, never to rely on.

A guest can answer anything, as long as it likes, or nothing at all. So libvirt waits for it with a limit, and what
comes back is cut to size and taken only where it looks like what was asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_interface
from re import compile as regex
from typing import Any

import libvirt
import libvirt_qemu

from berth_agent.hypervisor.domains import Search, must_find
from berth_agent.hypervisor.errors import GuestAgentUnavailable
from berth_agent.hypervisor.failures import is_broken, is_code, message_of
from berth_agent.hypervisor.states import GuestInfo, GuestInterface

_MAX_INTERFACES, _MAX_ADDRESSES = 64, 64
_MAX_NAME = 64
_MAX_HOSTNAME = 253
"""Of a domain name (RFC 1035, section 2.3.4)."""
_MAX_TITLE = 128
_MAC = regex(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def ping_guest(connection: Any, search: Search, patience: int) -> None:
    """Return when the agent has answered, waiting at most `patience` seconds."""
    domain = must_find(connection, search)
    with _guests_word(connection):
        libvirt_qemu.qemuAgentCommand(domain, '{"execute":"guest-ping"}', patience, 0)


def read_guest_info(connection: Any, search: Search, patience: int) -> GuestInfo:
    """Names, operating system and NICs. What the agent has no command for is left empty."""
    domain = must_find(connection, search)
    with _guests_word(connection):
        domain.agentSetResponseTimeout(patience)
        os_info = _if_known(lambda: domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_OS, 0))
        names = _if_known(lambda: domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_HOSTNAME, 0))
        source = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT
        nics = _if_known(lambda: domain.interfaceAddresses(source))
    return guest_info_from({**os_info, **names}, nics)


def guest_info_from(found: Mapping[str, Any], nics: Mapping[str, Any] | None) -> GuestInfo:
    """From libvirt's typed parameters (virDomainGetGuestInfo)."""
    return GuestInfo(
        hostname=_text(found.get("hostname"), _MAX_HOSTNAME),
        os_id=_text(found.get("os.id")),
        os_name=_text(found.get("os.pretty-name") or found.get("os.name"), _MAX_TITLE),
        os_version=_text(found.get("os.version-id")),
        kernel_release=_text(found.get("os.kernel-release"), _MAX_TITLE),
        interfaces=interfaces_from(nics),
    )


def interfaces_from(found: Mapping[str, Any] | None) -> tuple[GuestInterface, ...]:
    """NICs by their names, each name once: two that look alike when cut to size count as one."""
    nics: dict[str, GuestInterface] = {}
    for name, values in (found or {}).items():
        shown = _text(name)
        if shown and shown not in nics and len(nics) < _MAX_INTERFACES:
            nics[shown] = GuestInterface(
                name=shown,
                mac_address=_mac(values.get("hwaddr")),
                ip_addresses=tuple(_addresses(values.get("addrs") or [])),
            )
    return tuple(nics.values())


def _addresses(found: list[Mapping[str, Any]]) -> Iterator[str]:
    for address in found[:_MAX_ADDRESSES]:
        try:
            yield str(ip_interface(f"{address.get('addr')}/{address.get('prefix')}"))
        except ValueError:
            continue


def _mac(value: Any) -> str:
    text = str(value or "").lower()
    return text if _MAC.fullmatch(text) else ""


def _text(value: Any, most: int = _MAX_NAME) -> str:
    """Printable and short, whatever the guest says."""
    return "".join(c for c in str(value or "")[: 4 * most] if c.isprintable())[:most]


def _if_known(ask: Callable[[], Mapping[str, Any] | None]) -> Mapping[str, Any]:
    """The answer; nothing where the agent does not know the question."""
    try:
        return ask() or {}
    except libvirt.libvirtError as error:
        unknown = (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_NO_SUPPORT)
        if is_code(error, *unknown, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED):
            return {}
        raise


@contextmanager
def _guests_word(connection: Any) -> Iterator[None]:
    """Whatever is wrong with an answer, it is the guest's agent that is of no use, not libvirt."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise GuestAgentUnavailable("the guest's agent answered with what is no text") from error
    except libvirt.libvirtError as error:
        ours = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)
        if is_code(error, *ours) or is_broken(connection):
            raise
        raise GuestAgentUnavailable(f"the guest's agent does not answer: {message_of(error)}") from error
