"""What a guest says of itself, made fit to be shown: in order, of bounded size, and free of what only makes it change.

All of it is the guest's word, and the guest may be hostile: it ends up in an object that everybody reads.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from berth_agent.hypervisor.states import GuestInfo, GuestInterface
from berth_api import virtualmachines as api

MAX_HOSTNAME = 253
MAX_INTERFACES = 16
MAX_ADDRESSES = 16
_NO_NAME = "(none)"
"""What Linux says that a host is called before it was given a name."""
_MAX_TEXT = 128
_MAX_NAME = 32
"""Linux takes 15, Windows has names such as `Ethernet 2`."""
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def settle(info: GuestInfo) -> GuestInfo:
    """The same information whatever order it came in, without what comes and goes by itself.

    Loopback, link-local and unreadable addresses are left out, and so are NICs without any others: those of a guest's
    containers come and go. What is over the limits is left out, last in order first.
    """
    interfaces = {found.name: found for found in map(_interface, info.interfaces) if found.name and found.ip_addresses}
    return GuestInfo(
        hostname=_text(info.hostname, MAX_HOSTNAME).removeprefix(_NO_NAME),
        os_id=_text(info.os_id),
        os_name=_text(info.os_name),
        os_version=_text(info.os_version),
        kernel_release=_text(info.kernel_release),
        interfaces=tuple(interfaces[name] for name in sorted(interfaces)[:MAX_INTERFACES]),
    )


def to_status(info: GuestInfo) -> api.GuestInfo:
    """The information as a VM's status has it; safe whatever the guest said."""
    settled = settle(info)
    return api.GuestInfo(
        hostname=settled.hostname,
        os_id=settled.os_id,
        os_name=settled.os_name,
        os_version=settled.os_version,
        kernel_release=settled.kernel_release,
        interfaces=tuple(
            api.GuestInterfaceStatus(
                name=interface.name, mac_address=interface.mac_address, ip_addresses=interface.ip_addresses
            )
            for interface in settled.interfaces
        ),
    )


def _interface(said: GuestInterface) -> GuestInterface:
    mac = said.mac_address.lower()
    addresses = sorted(set(_addresses(said.ip_addresses)), key=lambda address: (address.version, address))
    return GuestInterface(
        name=_text(said.name, _MAX_NAME),
        mac_address=mac if _MAC.fullmatch(mac) else "",
        ip_addresses=tuple(map(str, addresses[:MAX_ADDRESSES])),
    )


def _addresses(said: Iterable[str]) -> Iterable[IPv4Interface | IPv6Interface]:
    for text in said:
        try:
            address = ip_interface(text)
        except ValueError:
            continue
        ip = address.ip
        scoped = isinstance(address, IPv6Interface) and address.scope_id is not None
        if not (scoped or ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast):
            yield address


def _text(said: str, most: int = _MAX_TEXT) -> str:
    """Printable, on one line, and short."""
    return "".join(character for character in said if character.isprintable())[:most].strip()
