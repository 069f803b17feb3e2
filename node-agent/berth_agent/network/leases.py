"""What a guest is told by DHCP, and dnsmasq's command line for it. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from berth_agent.network.attachments import Attachment, Route
from berth_agent.network.names import GUEST_LINK

SERVER_ADDRESS = "169.254.75.1"
"""The server's own, in the sandbox only: clients reach it by broadcast; no network of a guest has it."""


_NOT_A_NAME = re.compile(r"^(ignore|infinite|deprecated|\d+[smhdw]?)$")
"""Host names that dnsmasq takes for something else where a name may stand; cloud-init still sets them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One static, infinite IPv4 lease."""

    mac_address: str
    address: ipaddress.IPv4Interface
    gateway: str | None
    gateway_is_on_link: bool
    dns_servers: tuple[str, ...]
    routes: tuple[Route, ...]
    mtu: int
    hostname: str


def lease_of(attachment: Attachment, hostname: str) -> Lease | None:
    """Return the lease for a NIC's first IPv4 address; None where it has none, as DHCP is the network's then."""
    for text in attachment.ip_addresses:
        address = ipaddress.ip_interface(text)
        if isinstance(address, ipaddress.IPv4Interface):
            return Lease(
                mac_address=attachment.mac_address,
                address=address,
                gateway=attachment.gateway if _is_ipv4(attachment.gateway) else None,
                gateway_is_on_link=attachment.gateway_is_on_link,
                dns_servers=tuple(server for server in attachment.dns_servers if _is_ipv4(server)),
                routes=tuple(route for route in attachment.routes if _is_ipv4(route.destination.split("/")[0])),
                mtu=attachment.mtu,
                hostname=hostname,
            )
    return None


def dnsmasq_arguments(lease: Lease, pid_file: Path, user: str) -> list[str]:
    """Return the options of a dnsmasq that serves one lease and nothing else.

    Options 3 and 6 are named even when empty, or dnsmasq puts its own address there. The network of the lease is not
    one of the server's, so it is declared as shared with its link.
    """
    network = lease.address.network
    name = [] if _NOT_A_NAME.fullmatch(lease.hostname) else [lease.hostname]
    routers = [lease.gateway] if lease.gateway else []
    return [
        "--conf-file=/dev/null",
        "--port=0",
        "--no-hosts",
        "--no-resolv",
        "--no-ping",
        "--leasefile-ro",
        "--bind-interfaces",
        f"--interface={GUEST_LINK}",
        "--except-interface=lo",
        "--dhcp-authoritative",
        "--dhcp-broadcast",
        f"--shared-network={GUEST_LINK},{network.network_address}",
        f"--dhcp-range={network.network_address},static,{network.netmask},infinite",
        f"--dhcp-host={','.join([lease.mac_address, str(lease.address.ip), *name, 'infinite'])}",
        _option(3, routers),
        _option(6, lease.dns_servers),
        _option(26, [str(lease.mtu)]),
        *_classless_routes(lease),
        f"--user={user}",
        "--quiet-dhcp",
        f"--pid-file={pid_file}",
    ]


def _classless_routes(lease: Lease) -> list[str]:
    """RFC 3442: a client that takes option 121 ignores option 3, so the default route is repeated there."""
    pairs = [(route.destination, route.gateway or lease.gateway or "0.0.0.0") for route in lease.routes]  # noqa: S104 - the wire's "on the link", nothing is bound
    if lease.gateway and (pairs or not lease.gateway_is_on_link):
        on_link = [] if lease.gateway_is_on_link else [(f"{lease.gateway}/32", "0.0.0.0")]  # noqa: S104 - same
        pairs = [*on_link, *pairs, ("0.0.0.0/0", lease.gateway)]
    return [_option(121, [part for pair in pairs for part in pair])] if pairs else []


def _option(number: int, values: Sequence[str]) -> str:
    return f"--dhcp-option={','.join([str(number), *values])}"


def _is_ipv4(address: str | None) -> bool:
    return address is not None and ipaddress.ip_address(address).version == 4  # noqa: PLR2004 - IPv4
