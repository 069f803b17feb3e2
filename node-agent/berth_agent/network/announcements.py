"""Tell the network that an address is at another MAC now.

Addresses are given again soon after a VM is gone, and a peer that still has the former guest's MAC in its neighbour
table talks to nobody until its entry is probed and given up: 25 to 50 s were measured. A guest need not announce itself
(DHCP and static configurations mostly do not), so the agent does when it starts one: frames as the guest would send
them, put into the agent's end of the veth pair, from where the redirects carry them out of the sandbox.
Sources: RFC 5227, section 2.3 (ARP announcement); RFC 4861, section 7.2.6 (unsolicited neighbor advertisement).
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_interface

_BROADCAST = b"\xff" * 6
_ETHERTYPE_ARP, _ETHERTYPE_IPV6 = 0x0806, 0x86DD
_ALL_NODES = IPv6Address("ff02::1")
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_NEXT_HEADER_ICMPV6 = 58
_HOP_LIMIT = 255
_NEIGHBOR_ADVERTISEMENT = 136
_OVERRIDE = 0x20000000
_TARGET_LINK_LAYER_ADDRESS = (2, 1)


def frames(mac_address: str, ip_addresses: Iterable[str]) -> tuple[bytes, ...]:
    """Ethernet frames that announce the addresses (with or without prefix length) at the MAC."""
    mac = bytes.fromhex(mac_address.replace(":", ""))
    addresses = [ip_interface(address).ip for address in ip_addresses]
    return tuple(_arp(mac, ip) if isinstance(ip, IPv4Address) else _advertisement(mac, ip) for ip in addresses)


def announce(link: str, announcements: Iterable[bytes]) -> None:
    """Send frames out of a link of the agent's network namespace. Never blocks.

    Raises:
        OSError: the link is gone, or its queue is full.
    """
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    try:
        sender.setblocking(False)
        sender.bind((link, 0))
        for frame in announcements:
            sender.send(frame)
    finally:
        # The kernel closes a packet socket only when no processor can be at it any more: 25 ms on a busy node.
        threading.Thread(target=sender.close, name="announcement", daemon=True).start()


def _arp(mac: bytes, address: IPv4Address) -> bytes:
    ethernet = _BROADCAST + mac + struct.pack("!H", _ETHERTYPE_ARP)
    request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return ethernet + request + mac + address.packed + bytes(6) + address.packed


def _advertisement(mac: bytes, address: IPv6Address) -> bytes:
    option = bytes(_TARGET_LINK_LAYER_ADDRESS) + mac
    body = struct.pack("!BBHI", _NEIGHBOR_ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed + option
    pseudo = address.packed + _ALL_NODES.packed + struct.pack("!II", len(body), _NEXT_HEADER_ICMPV6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), _NEXT_HEADER_ICMPV6, _HOP_LIMIT)
    ethernet = _ALL_NODES_MAC + mac + struct.pack("!H", _ETHERTYPE_IPV6)
    return ethernet + header + address.packed + _ALL_NODES.packed + body


def _checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:  # noqa: PLR2004 - 16 bits
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
