"""What the guest's agent is asked. What it answers is the guest's word: data to show, never to rely on."""

from typing import Any

import libvirt
import libvirt_qemu

from berth_agent.hypervisor.domains import Search, must_find
from berth_agent.hypervisor.states import GuestInfo, GuestInterface

_MAX_INTERFACES, _MAX_ADDRESSES = 64, 64
_MAX_TEXT = 64


def ping_guest(connection: Any, search: Search, patience: int) -> None:
    """Return when the agent has answered, waiting at most `patience` seconds."""
    domain = must_find(connection, search)
    libvirt_qemu.qemuAgentCommand(domain, '{"execute":"guest-ping"}', patience, 0)


def list_guest_interfaces(connection: Any, search: Search, patience: int) -> tuple[GuestInterface, ...]:
    """NICs and addresses, as far as they look like some."""
    domain = must_find(connection, search)
    domain.agentSetResponseTimeout(patience)
    found = domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT) or {}
    return tuple(
        GuestInterface(
            name=_text(name),
            mac_address=_text(values.get("hwaddr")),
            ip_addresses=tuple(
                f"{_text(address['addr'])}/{address['prefix']}"
                for address in (values.get("addrs") or [])[:_MAX_ADDRESSES]
            ),
        )
        for name, values in list(found.items())[:_MAX_INTERFACES]
    )


def read_guest_info(connection: Any, search: Search, patience: int) -> GuestInfo:
    """Names, operating system and NICs. An agent that does not know one of the questions leaves its answer empty."""
    domain = must_find(connection, search)
    domain.agentSetResponseTimeout(patience)
    what = libvirt.VIR_DOMAIN_GUEST_INFO_OS | libvirt.VIR_DOMAIN_GUEST_INFO_HOSTNAME
    found = domain.guestInfo(what, 0)
    return GuestInfo(
        hostname=_text(found.get("hostname")),
        os_id=_text(found.get("os.id")),
        os_name=_text(found.get("os.pretty-name") or found.get("os.name")),
        os_version=_text(found.get("os.version-id")),
        kernel_release=_text(found.get("os.kernel-release")),
        interfaces=list_guest_interfaces(connection, search, patience),
    )


def _text(value: Any) -> str:
    """Printable and short, whatever the guest says."""
    return "".join(c for c in str(value or "") if c.isprintable())[:_MAX_TEXT]
