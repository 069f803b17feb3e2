"""Redirects between links: `clsact`, `u32` and `mirred`, which every kernel of a virtualisation host has.

matchall, gact and skbedit are modules of their own that some lack.
Source: linux/pkt_cls.h, linux/pkt_sched.h, linux/tc_act/tc_mirred.h; tc-u32(8), tc-mirred(8); `tc -batch` under strace.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence

from berth_agent.network.links import Link
from berth_agent.network.netlink import (
    CREATE,
    EXCLUSIVE,
    Netlink,
    NetlinkError,
    attribute,
    attributes,
    number,
    text,
)

_NEW_QDISC, _DELETE_QDISC, _NEW_FILTER = 36, 37, 44
_TC = struct.Struct("=BxHiIII")  # struct tcmsg
_CLSACT, _CLSACT_HANDLE, _INGRESS = 0xFFFF_FFF1, 0xFFFF_0000, 0xFFFF_FFF2
_KIND, _OPTIONS = 1, 2

_SELECTOR = struct.Struct("=BBBx HHhhI")  # struct tc_u32_sel
_CLASS, _SELECT, _ACTION = 1, 5, 7
_TERMINAL = 1

_MIRRED = struct.Struct("=IIiiiiI")  # struct tc_mirred
_PARAMETERS = 2
_STOLEN, _REDIRECT_OUT = 4, 1

_ALL, _IPV4 = 0x0003, 0x0800
_REDIRECT_PREFERENCE, _DHCP_PREFERENCE = 10, 5
_TO_THE_STACK = 0x0001_0001
"""A class: what matches and has no action goes on to the local stack."""

_Key = tuple[int, int, int]
"""Mask, value and offset, of 32 bits of a packet from its network header on."""
_EVERYTHING: tuple[_Key, ...] = ((0, 0, 0),)
_DHCP_REQUEST: tuple[_Key, ...] = (
    (0x00FF_0000, 17 << 16, 8),  # UDP
    (0x0000_FFFF, 67, 20),  # to the server's port
    (0xFFFF_FFFF, 0xFFFF_FFFF, 16),  # to everybody: unicast to a server of the network's own is the guest's business
)


def redirect(netlink: Netlink, one: Link, other: Link, *, answer_dhcp: bool = False) -> None:
    """Send every frame that arrives at one link out of the other, and the reverse.

    Args:
        netlink: of the links' namespace.
        one: its broadcast DHCP requests stay, where `answer_dhcp`.
        other: its counterpart.
        answer_dhcp: a server listens on `one`.

    Raises:
        NetlinkError: the kernel refused; a link that has filters already is refused (EEXIST).
    """
    for link in (one, other):
        body = _TC.pack(0, 0, link.index, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_KIND, text("clsact"))
        netlink.change("add clsact", _NEW_QDISC, body, CREATE | EXCLUSIVE)
    if answer_dhcp:
        leave = attribute(_CLASS, number(_TO_THE_STACK))
        _add(netlink, one, _IPV4, _DHCP_PREFERENCE, attribute(_SELECT, selector(_DHCP_REQUEST)) + leave)
    for link, out in ((one, other), (other, one)):
        _add(netlink, link, _ALL, _REDIRECT_PREFERENCE, attribute(_SELECT, selector(_EVERYTHING)) + _to(out))


def clear(netlink: Netlink, link: Link) -> None:
    """Take all filters off a link; none is fine.

    Raises:
        NetlinkError: the kernel refused.
    """
    try:
        body = _TC.pack(0, 0, link.index, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_KIND, text("clsact"))
        netlink.change("delete clsact", _DELETE_QDISC, body)
    except NetlinkError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise


def _add(netlink: Netlink, link: Link, protocol: int, preference: int, options: bytes) -> None:
    body = _TC.pack(0, 0, link.index, 0, _INGRESS, preference << 16 | socket.htons(protocol))
    body += attributes({_KIND: text("u32"), _OPTIONS: options})
    netlink.change("add a filter", _NEW_FILTER, body, CREATE | EXCLUSIVE)


def selector(keys: Sequence[_Key]) -> bytes:
    """Return what a u32 filter matches: all of the keys."""
    head = _SELECTOR.pack(_TERMINAL, 0, len(keys), 0, 0, 0, 0, 0)
    return head + b"".join(struct.pack("!II", mask, value) + struct.pack("=ii", at, 0) for mask, value, at in keys)


def _to(link: Link) -> bytes:
    parameters = _MIRRED.pack(0, 0, _STOLEN, 0, 0, _REDIRECT_OUT, link.index)
    action = {_KIND: text("mirred"), _OPTIONS: attribute(_PARAMETERS, parameters)}
    return attribute(_ACTION, attribute(1, attributes(action)))
