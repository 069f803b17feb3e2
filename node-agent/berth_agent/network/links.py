"""What is done with links: made, set up, looked at, deleted. Blocking; in the namespace of the socket.

Source: rtnetlink(7); linux/if_link.h, linux/if_addr.h, linux/neighbour.h, linux/rtnetlink.h; `ip -batch` under strace.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass

from berth_agent.network.netlink import (
    CREATE,
    DUMP,
    EXCLUSIVE,
    REPLACE,
    Netlink,
    NetlinkError,
    attribute,
    attributes,
    number,
    parse_attributes,
    text,
)

_NEW_LINK, _DELETE_LINK, _GET_LINK = 16, 17, 18
_NEW_ADDRESS, _GET_ROUTE, _NEW_NEIGHBOUR = 20, 26, 28

_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_UP, _ALL_MULTICAST = 0x1, 0x200
_ADDRESS, _NAME, _MTU, _QUEUE_LENGTH = 1, 3, 4, 13
_INFO, _AF_SPEC, _NETNS_FD, _TX_QUEUES, _RX_QUEUES = 18, 26, 28, 31, 32
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_ADDRESS_GENERATION_MODE, _NONE = 8, b"\x01"

_IFADDR = struct.Struct("=BBBBI")  # struct ifaddrmsg
_NEIGHBOUR = struct.Struct("=BxHiHBB")  # struct ndmsg
_PERMANENT = 0x80
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_MAIN_TABLE = 254
_TO, _OUT, _GATEWAY, _TABLE = 1, 4, 5, 15


@dataclass(frozen=True, slots=True)
class Link:
    """A link as the kernel has it."""

    index: int
    mac_address: str
    mtu: int


def find(netlink: Netlink, name: str) -> Link:
    """Look a link up.

    Raises:
        NetlinkError: there is none of that name (ENODEV).
    """
    answers = netlink.get(f"look at {name}", _GET_LINK, _LINK.pack(0, 0, 0, 0, 0) + attribute(_NAME, text(name)))
    _, _, index, _, _ = _LINK.unpack_from(answers[0])
    values = parse_attributes(answers[0][_LINK.size :])
    return Link(index, values[_ADDRESS].hex(":"), struct.unpack("=I", values[_MTU])[0])


def make_veth(netlink: Netlink, name: str, peer: str, peer_netns: int, queues: int) -> None:
    """Make a pair, both ends down; the peer in the namespace that a descriptor is open on.

    Raises:
        NetlinkError: there is a link of that name (EEXIST), or the kernel refused.
    """
    counts = {_TX_QUEUES: number(queues), _RX_QUEUES: number(queues)}
    far = _LINK.pack(0, 0, 0, 0, 0) + attributes({_NAME: text(peer), _NETNS_FD: number(peer_netns), **counts})
    info = {_INFO_KIND: b"veth", _INFO_DATA: attribute(_VETH_PEER, far)}
    body = _LINK.pack(0, 0, 0, 0, 0) + attributes({_NAME: text(name), **counts, _INFO: attributes(info)})
    netlink.change(f"make veth {name}", _NEW_LINK, body, CREATE | EXCLUSIVE)


def bring_up(netlink: Netlink, name: str, *, mtu: int | None = None, queue_length: int | None = None) -> None:
    """Set a link up without an IPv6 address of its own making.

    Raises:
        NetlinkError: the kernel refused.
    """
    values = {_NAME: text(name)}
    if queue_length is not None:
        values[_QUEUE_LENGTH] = number(queue_length)
    if mtu is not None:
        values[_MTU] = number(mtu)
        mode = attribute(_ADDRESS_GENERATION_MODE, _NONE)
        values[_AF_SPEC] = attribute(socket.AF_INET6, mode)
    netlink.change(f"set {name} up", _NEW_LINK, _LINK.pack(0, 0, 0, _UP, _UP) + attributes(values))


def receive_all_multicast(netlink: Netlink, name: str) -> None:
    """Let a link take in multicast frames that its own stack has not joined.

    Raises:
        NetlinkError: the kernel refused.
    """
    body = _LINK.pack(0, 0, 0, _ALL_MULTICAST, _ALL_MULTICAST) + attribute(_NAME, text(name))
    netlink.change(f"set {name} allmulticast", _NEW_LINK, body)


def delete(netlink: Netlink, name: str) -> None:
    """Delete a link; one that is gone is fine.

    Raises:
        NetlinkError: the kernel refused.
    """
    body = _LINK.pack(0, 0, 0, 0, 0) + attribute(_NAME, text(name))
    try:
        netlink.change(f"delete {name}", _DELETE_LINK, body)
    except NetlinkError as error:
        if error.errno != errno.ENODEV:
            raise


def add_address(netlink: Netlink, link: Link, address: ipaddress.IPv4Address) -> None:
    """Give a link an address of its own; one that it has is fine.

    Raises:
        NetlinkError: the kernel refused.
    """
    values = {1: address.packed, 2: address.packed}  # IFA_ADDRESS, IFA_LOCAL
    body = _IFADDR.pack(socket.AF_INET, address.max_prefixlen, 0, 0, link.index) + attributes(values)
    netlink.change(f"add address {address}", _NEW_ADDRESS, body, CREATE | REPLACE)


def add_neighbour(netlink: Netlink, link: Link, address: ipaddress.IPv4Address, mac_address: str) -> None:
    """Note for good whose MAC an address has; replaces what was noted.

    Raises:
        NetlinkError: the kernel refused.
    """
    values = {1: address.packed, 2: bytes.fromhex(mac_address.replace(":", ""))}  # NDA_DST, NDA_LLADDR
    body = _NEIGHBOUR.pack(socket.AF_INET, 0, link.index, _PERMANENT, 0, 0) + attributes(values)
    netlink.change(f"add neighbour {address}", _NEW_NEIGHBOUR, body, CREATE | REPLACE)


def connected(netlink: Netlink, link: Link) -> frozenset[str]:
    """Destinations of the main table's IPv4 routes out of a link that have no gateway, such as `10.1.1.0/24`.

    Raises:
        NetlinkError: the kernel refused.
    """
    body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    found = set()
    for answer in netlink.get("look at routes", _GET_ROUTE, body, DUMP):
        _, length, _, _, table, *_ = _ROUTE.unpack_from(answer)
        values = parse_attributes(answer[_ROUTE.size :])
        table = struct.unpack("=I", values[_TABLE])[0] if _TABLE in values else table
        out = struct.unpack("=I", values[_OUT])[0] if _OUT in values else None
        if table == _MAIN_TABLE and out == link.index and _GATEWAY not in values:
            to = socket.inet_ntoa(values.get(_TO, bytes(4)))
            found.add(f"{to}/{length}")
    return frozenset(found)
