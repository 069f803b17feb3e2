"""Requests to the kernel over rtnetlink: links, addresses, filters, without a process for each.

A node that starts many guests has no processor to spare for thirty `ip` and `tc` at a time, and each start of a process
holds the agent up. What is needed of the protocol is small: a request, its attributes, and an answer to each; a
library would cost more memory than the whole network package. A socket belongs to the namespace of the thread that
opened it.
Source: RFC 3549; netlink(7), rtnetlink(7); linux/netlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
EXCLUSIVE, REPLACE, CREATE = 0x200, 0x100, 0x400
"""Flags of a message; the last three of one that makes something."""

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR, _DONE = 2, 3
_EXTENDED = (270, 11)
"""SOL_NETLINK and NETLINK_EXT_ACK: the kernel adds what it thinks is wrong, in words."""
_MESSAGE = 1
_ACK_TLVS = 0x200
_CAPPED = 0x100
_TYPE_MASK = 0x3FFF
_RECEIVED = 1 << 16

Attributes = Mapping[int, bytes]


class NetlinkError(OSError):
    """The kernel refused a request; `errno` says why, and the message what."""


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload + bytes(-len(payload) % 4)


def attributes(values: Attributes) -> bytes:
    """Return attributes in order, as a message has them behind its own header, or another attribute has them nested."""
    return b"".join(attribute(kind, payload) for kind, payload in values.items())


def text(value: str) -> bytes:
    """Return a string as the kernel has it."""
    return value.encode() + b"\0"


def number(value: int) -> bytes:
    """Return 32 bits in the machine's order."""
    return struct.pack("=I", value)


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Read attributes; of several of a kind the last."""
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = data[_ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]
    return found


class Netlink:
    """A socket to the kernel, for one thread at a time. Use as a context manager.

    Args:
        patience: seconds to wait for an answer, which comes at once.
    """

    def __init__(self, patience: float = 10.0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(patience)
        self._sequence = 0
        try:
            self._socket.setsockopt(*_EXTENDED, 1)
            self._socket.bind((0, 0))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        """Return the open socket."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._socket.close()

    def change(self, what: str, kind: int, body: bytes, flags: int = 0) -> None:
        """Request a change.

        Args:
            what: for an error, such as `make veth bv0`.
            kind: type of the message, RTM_…
            body: its own header and its attributes.
            flags: beside REQUEST and ACK.

        Raises:
            NetlinkError: the kernel refused.
            TimeoutError: it did not answer.
        """
        for _ in self._ask(what, kind, body, flags | ACK):
            pass

    def get(self, what: str, kind: int, body: bytes, flags: int = 0) -> list[bytes]:
        """Request what is there; returns the bodies of the answers.

        Raises:
            NetlinkError: the kernel refused.
            TimeoutError: it did not answer.
        """
        return list(self._ask(what, kind, body, flags | ACK))

    def _ask(self, what: str, kind: int, body: bytes, flags: int) -> Iterator[bytes]:
        self._sequence += 1
        length = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(length, kind, flags | REQUEST, self._sequence, 0) + body)
        while True:
            data = self._socket.recv(_RECEIVED)
            while data:
                length, answer, answer_flags, sequence, _ = _HEADER.unpack_from(data)
                payload, data = data[_HEADER.size : length], data[length + -length % 4 :]
                if sequence != self._sequence:
                    continue
                if answer in (_ERROR, _DONE):
                    _check(what, answer, payload, answer_flags)
                    return
                yield payload


def _check(what: str, answer: int, payload: bytes, flags: int) -> None:
    """Raise what an acknowledgement says; zero is success."""
    code = -struct.unpack_from("=i", payload)[0] if len(payload) >= struct.calcsize("=i") else 0
    if not code:
        return
    said = _said(payload, flags) if answer == _ERROR else ""
    raise NetlinkError(code, f"{what}: {os.strerror(code)}{f' ({said})' if said else ''}")


def _said(payload: bytes, flags: int) -> str:
    """The kernel's own words behind an error: they follow the request, which is repeated unless it is left out."""
    if not flags & _ACK_TLVS:
        return ""
    behind = 4 + (_HEADER.size if flags & _CAPPED else struct.unpack_from("=I", payload, 4)[0])
    message = parse_attributes(payload[behind + -behind % 4 :]).get(_MESSAGE, b"")
    return message.rstrip(b"\0").decode(errors="replace")
