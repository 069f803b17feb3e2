"""Which addresses an image may come from, decided on the very address that is connected to.

A URL is a user's, and the agent fetches it with the node's eyes: without a guard it reaches the node's loopback, a
cloud's metadata service, the kubelet, the API server. Checking the URL's text, or what its name resolves to, is not
enough: literals have many spellings, a name may resolve differently the second time (DNS rebinding), a redirect leads
anywhere, and IPv6 has several ways to write an IPv4 address. So the check sits where a socket is made for one address
that the kernel is about to be given.
"""

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Self

from berth_agent.storage.errors import DestinationForbidden

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NEVER_AN_IMAGE_SERVER: tuple[tuple[str, str], ...] = (
    # IANA special-purpose registries (RFC 6890), as far as they lead back to the node or to everybody
    ("0.0.0.0/8", "unspecified"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved or broadcast"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
    ("64:ff9b:1::/48", "local-use NAT64"),  # RFC 8215: where the IPv4 address sits in it is the network's own choice
    # metadata services that do not live on a link-local address
    ("100.100.100.200/32", "metadata service"),
    ("168.63.129.16/32", "metadata service"),
    ("192.0.0.192/32", "metadata service"),
    ("fd00:ec2::254/128", "metadata service"),
    ("fd20:ce::254/128", "metadata service"),
)

_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052
_TRANSLATED = ip_network("::ffff:0:0:0/96")  # RFC 2765, SIIT
_COMPATIBLE = ip_network("::/96")  # RFC 4291, deprecated
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214: the first half of the interface identifier
_LOW_32 = 0xFFFFFFFF


def forms(address: Address) -> Iterator[Address]:
    """Yield the address and every IPv4 address that a gateway or the kernel may make of it."""
    yield address
    if isinstance(address, IPv4Address):
        return
    number = int(address)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64 or address in _TRANSLATED or (address in _COMPATIBLE and number > 1):
        yield IPv4Address(number & _LOW_32)
    if (number >> 32) & _LOW_32 in _ISATAP:
        yield IPv4Address(number & _LOW_32)


@dataclass(frozen=True)
class DestinationPolicy:
    """The addresses that images must not come from, and the administrator's exceptions.

    Attributes:
        denied: networks and why each is denied.
        allowed: networks that the administrator allows whatever `denied` says.
        deny_own_addresses: whether addresses of this node itself are denied.
    """

    denied: tuple[tuple[Network, str], ...]
    allowed: tuple[Network, ...] = ()
    deny_own_addresses: bool = True

    @classmethod
    def of(cls, *, denied_cidrs: Iterable[str] = (), allowed_cidrs: Iterable[str] = ()) -> Self:
        """Build the policy from the administrator's settings on top of what is never an image server.

        Args:
            denied_cidrs: the cluster's own networks and the API server's addresses.
            allowed_cidrs: exceptions from everything that is denied.

        Raises:
            ValueError: one of them is not an address or a CIDR.
        """
        never = tuple((ip_network(cidr), why) for cidr, why in _NEVER_AN_IMAGE_SERVER)
        cluster = tuple((ip_network(cidr, strict=False), "denied on this node") for cidr in denied_cidrs)
        return cls(never + cluster, tuple(ip_network(cidr, strict=False) for cidr in allowed_cidrs))

    def refusal(self, address: Address) -> str | None:
        """Say why this address is refused, None if it is not. Every form of it has to pass."""
        for form in forms(address):
            if self._allows(form):
                continue
            for network, why in self.denied:
                if form in network:
                    return f"{why}, in {network}" if form == address else f"{why}, {form} in {network}"
        return None

    def check(self, address: Address) -> None:
        """Refuse an address that images must not come from.

        Raises:
            DestinationForbidden: with the address and the setting that governs it.
        """
        why = self.refusal(address)
        if why is None and self.deny_own_addresses and not self._allows(address) and _is_own(address):
            why = "an address of the node itself"
        if why is not None:
            raise DestinationForbidden(
                f"the image's URL leads to {address} ({why}), where images may not come from: "
                f"use another server, or ask the node's administrator to add the address to the agent's allowed CIDRs"
            )

    def open_socket(self, addr_info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one resolved address; aiohttp's connector calls this before each connect.

        Raises:
            DestinationForbidden: the address is refused. It is no OSError, so no other address is tried.
        """
        family, kind, protocol, _, sockaddr = addr_info
        self.check(ip_address(sockaddr[0]))
        return socket.socket(family=family, type=kind, proto=protocol)

    def _allows(self, address: Address) -> bool:
        return any(address in network for network in self.allowed)


def _is_own(address: Address) -> bool:
    """Ask the routing table, without sending anything: the source for an address of our own is that address."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:  # no route: connecting will say so
            return False
        source: str = probe.getsockname()[0]
    return int(ip_address(source)) == int(address)
