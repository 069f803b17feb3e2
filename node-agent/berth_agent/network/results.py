"""Read what a chain made: its result, and the interface itself. Pure.

The MAC comes from the link, not from the result (plugins late in a chain change it). An address that was asked for is
either there or an error: a guest with an address that nobody assigned is worse than none.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from berth_agent.network.attachments import AttachmentRequest, Route
from berth_agent.network.chains import Json
from berth_agent.network.errors import AddressNotHonoured, RequestInvalid

_DEFAULTS = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """The sandbox's `eth0` as the kernel has it.

    Attributes:
        connected: destinations of its routes that have no gateway.
    """

    mac_address: str
    mtu: int
    connected: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestNetwork:
    """What the guest has to configure."""

    mac_address: str
    ip_addresses: tuple[str, ...]
    gateway: str | None
    dns_servers: tuple[str, ...]
    routes: tuple[Route, ...]
    mtu: int


def read_result(request: AttachmentRequest, result: Json, interface: Interface) -> GuestNetwork:
    """Combine what was asked for with what is there.

    Raises:
        AddressNotHonoured: the chain configured another MAC or address.
        RequestInvalid: the guest's MTU is greater than the chain's.
    """
    addresses = [ipaddress.ip_interface(entry["address"]) for entry in result.get("ips") or []]
    _check_honoured(request, addresses, interface)
    if request.mtu is not None and request.mtu > interface.mtu:
        raise RequestInvalid(
            f"network {request.network_name!r} has MTU {request.mtu}, its chain {interface.mtu}: lower the network's, "
            "or raise it in the chain's plugins"
        )
    routes = [entry for entry in result.get("routes") or [] if entry["dst"] not in _DEFAULTS]
    return GuestNetwork(
        mac_address=interface.mac_address,
        ip_addresses=tuple(_for_guest(address, interface) for address in addresses),
        gateway=request.gateway or _default_gateway(result),
        dns_servers=request.dns_servers or tuple((result.get("dns") or {}).get("nameservers") or ()),
        routes=(*request.routes, *(Route(entry["dst"], entry.get("gw")) for entry in routes)),
        mtu=request.mtu or interface.mtu,
    )


def _check_honoured(request: AttachmentRequest, addresses: list[Any], interface: Interface) -> None:
    if request.mac_address not in {None, interface.mac_address}:
        raise AddressNotHonoured(
            f"network {request.network_name!r} was asked for MAC {request.mac_address} and gave {interface.mac_address}"
        )
    given = {address.ip for address in addresses}
    missing = [text for text in request.ip_addresses if ipaddress.ip_interface(text).ip not in given]
    if missing:
        raise AddressNotHonoured(
            f"network {request.network_name!r} was asked for {', '.join(missing)} and gave "
            f"{', '.join(map(str, addresses)) or 'no address'}: its IPAM plugin must take the capability 'ips', as "
            "static does"
        )


def _for_guest(address: ipaddress.IPv4Interface | ipaddress.IPv6Interface, interface: Interface) -> str:
    """A point-to-point chain (ptp) drops the subnet's own route: its neighbours are behind the gateway, too."""
    if address.version == 4 and str(address.network) not in interface.connected:  # noqa: PLR2004 - IPv4
        return f"{address.ip}/32"
    return str(address)


def _default_gateway(result: Json) -> str | None:
    """Routes decide whether there is a default route; without a next hop of its own it is the address's gateway."""
    for route in result.get("routes") or []:
        if route["dst"] in _DEFAULTS:
            if route.get("gw"):
                return str(route["gw"])
            for entry in result.get("ips") or []:
                if entry.get("gateway") and (":" in entry["gateway"]) == (":" in route["dst"]):
                    return str(entry["gateway"])
    return None
