"""The socket filter that lets only a handshake's answers through.

A socket on a tap sees all that its guest sends and gets, which may be a million frames a second: the kernel has to
leave them out, before each wakes the agent. Classic BPF, as `tcpdump -d` shows it; linux/filter.h has the codes.
"""

import ctypes
import socket
import struct
from collections.abc import Sequence

from berth_agent.guests.handshakes import Handshake

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; the socket module does not have it
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_LOAD_HEADER_LENGTH, _LOAD_HALF_BEHIND = 0xB1, 0x48
_JUMP_IF_EQUAL = 0x15
_RETURN = 0x06
_KEPT = 256
"""Bytes of a frame that are let through: all headers."""

_Instruction = tuple[int, int, int, int]
_Condition = tuple[Sequence[_Instruction], int]
"""What loads a value, and what it must be."""


def answers_of(handshake: Handshake) -> tuple[_Instruction, ...]:
    """The program that passes a handshake's TCP answers and questions for its source's MAC."""
    port = handshake.source_port
    if handshake.source.version == 4:  # noqa: PLR2004
        arp = _segment(0x0806, _absolute(_LOAD_WORD, 38, int(handshake.source)))
        tcp = _segment(
            0x0800,
            _absolute(_LOAD_BYTE, 23, 6),
            _absolute(_LOAD_WORD, 26, int(handshake.target)),
            (((_LOAD_HEADER_LENGTH, 0, 0, 14), (_LOAD_HALF_BEHIND, 0, 0, 16)), port),
        )
        return ((_LOAD_HALF, 0, 0, 12), *arp, *tcp, (_RETURN, 0, 0, 0))
    last_word = int(handshake.source) & 0xFFFF_FFFF
    neighbour = _segment(58, _absolute(_LOAD_BYTE, 54, 135), _absolute(_LOAD_WORD, 74, last_word))
    tcp = _segment(6, _absolute(_LOAD_HALF, 56, port))
    either = (*neighbour, *tcp)
    return (
        (_LOAD_HALF, 0, 0, 12),
        (_JUMP_IF_EQUAL, 0, 1 + len(either), 0x86DD),
        (_LOAD_BYTE, 0, 0, 20),
        *either,
        (_RETURN, 0, 0, 0),
    )


def attach(receiver: socket.socket, program: Sequence[_Instruction]) -> None:
    """Let only what a program passes through to a socket.

    Raises:
        OSError: the kernel does not take it.
    """
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    receiver.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(buffer)))


def _absolute(load: int, offset: int, value: int) -> _Condition:
    return ((load, 0, 0, offset),), value


def _segment(kind: int, *conditions: _Condition) -> tuple[_Instruction, ...]:
    """What runs where the value loaded before is `kind`; where it is not, the program goes on behind the segment."""
    size = sum(len(loads) + 1 for loads, _ in conditions) + 2
    body: list[_Instruction] = []
    for loads, value in conditions:
        body += loads
        body.append((_JUMP_IF_EQUAL, 0, size - 2 - len(body), value))
    return ((_JUMP_IF_EQUAL, 0, size, kind), *body, (_RETURN, 0, 0, _KEPT), (_RETURN, 0, 0, 0))
