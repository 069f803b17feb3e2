"""Frames of a handshake are what the standards say, and only a guest's answers to it are taken for some."""

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_agent.guests.filters import answers_of
from berth_agent.guests.handshakes import SOURCE_IPV6, SOURCE_MAC, Handshake, Reply, choose_source

GUEST_MAC = bytes.fromhex("525400000001")
V4 = Handshake(GUEST_MAC, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.5"), 61_234, 80, 0xFFFF_FFFF)
V6 = Handshake(GUEST_MAC, SOURCE_IPV6, IPv6Address("fd00::5"), 61_234, 80, 7)
BOTH = pytest.mark.parametrize("handshake", [V4, V6], ids=["IPv4", "IPv6"])
SYN, RST, ACK = 0x02, 0x04, 0x10


def packet(handshake: Handshake, payload: bytes, protocol: int = 6, *, options: bytes = b"") -> bytes:
    """A frame that the guest sends to the handshake's source."""
    ends = handshake.target.packed + handshake.source.packed
    if handshake.source.version == 4:
        head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(payload), 1, 0, 64, protocol, 0) + ends
        return SOURCE_MAC + GUEST_MAC + b"\x08\x00" + head + options + payload
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + ends
    return SOURCE_MAC + GUEST_MAC + b"\x86\xdd" + head + payload


def segment(handshake: Handshake, flags: int, *, acknowledged: int | None = None, port: int | None = None) -> bytes:
    expected = (handshake.sequence + 1) & 0xFFFF_FFFF if acknowledged is None else acknowledged
    return struct.pack(
        "!HHIIBBHHH", handshake.port, port or handshake.source_port, 99, expected, 0x50, flags, 1024, 0, 0
    )


def question(handshake: Handshake) -> bytes:
    """A guest looks for the MAC of the handshake's source."""
    if handshake.source.version == 4:
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + GUEST_MAC + handshake.target.packed
        return b"\xff" * 6 + GUEST_MAC + b"\x08\x06" + body + bytes(6) + handshake.source.packed
    body = struct.pack("!BBHI", 135, 0, 0, 0) + handshake.source.packed + b"\x01\x01" + GUEST_MAC
    head = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + handshake.target.packed + bytes(16)
    return SOURCE_MAC + GUEST_MAC + b"\x86\xdd" + head + body


def passes(handshake: Handshake, frame: bytes) -> bool:
    """Run the socket filter as the kernel does (linux/filter.h)."""
    program, at, value, index = answers_of(handshake), 0, 0, 0
    widths = {0x20: ("!I", 4), 0x28: ("!H", 2), 0x30: ("!B", 1), 0x48: ("!H", 2)}
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        if code == 0x06:
            return operand > 0
        if code == 0x15:
            at += if_true if value == operand else if_false
        elif code == 0xB1:
            if operand >= len(frame):
                return False
            index = (frame[operand] & 0xF) * 4
        else:
            form, size = widths[code]
            start = operand + (index if code == 0x48 else 0)
            if start + size > len(frame):
                return False
            (value,) = struct.unpack_from(form, frame, start)


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return (total % 0xFFFF) or 0xFFFF


@BOTH
def test_frames_carry_valid_checksums(handshake: Handshake) -> None:
    for frame in (handshake.syn(), handshake.reset()):
        assert (frame[:6], frame[6:12]) == (GUEST_MAC, SOURCE_MAC)
        head = frame[14:34] if handshake.source.version == 4 else frame[14:54]
        tcp = frame[14 + len(head) :]
        if handshake.source.version == 4:
            assert checksum(head) == 0xFFFF
        pseudo = handshake.source.packed + handshake.target.packed + struct.pack("!II", len(tcp), 6)
        assert checksum(pseudo + tcp) == 0xFFFF


def test_a_handshake_asks_with_a_syn_and_takes_back_what_comes_next_with_a_reset() -> None:
    ports = (V4.source_port, V4.port)
    syn, reset = V4.syn()[34:], V4.reset()[34:]
    assert struct.unpack_from("!HHI", syn) == (*ports, 0xFFFF_FFFF)
    assert (syn[13], syn[12] >> 4) == (SYN, len(syn) // 4)
    assert struct.unpack_from("!HHI", reset) == (*ports, 0)
    assert reset[13] == RST


@BOTH
@pytest.mark.parametrize(
    ("flags", "reply"),
    [(SYN | ACK, Reply.ACCEPTED), (RST | ACK, Reply.REFUSED), (RST, Reply.REFUSED), (ACK, None), (SYN, None)],
)
def test_an_answer_is_read_by_its_flags_and_let_through(handshake: Handshake, flags: int, reply: Reply | None) -> None:
    frame = packet(handshake, segment(handshake, flags))
    assert handshake.read(frame) is reply
    assert passes(handshake, frame)


@BOTH
def test_a_question_for_the_source_is_read_and_let_through(handshake: Handshake) -> None:
    assert handshake.read(question(handshake)) is Reply.WHO_HAS
    assert passes(handshake, question(handshake))
    others = replace(handshake, source=ip_address(int(handshake.source) + 1))
    assert handshake.read(question(others)) is None
    assert not passes(handshake, question(others))


def test_ip_options_do_not_hide_an_answer() -> None:
    frame = packet(V4, segment(V4, SYN | ACK), options=bytes(8))
    assert V4.read(frame) is Reply.ACCEPTED
    assert passes(V4, frame)


@BOTH
def test_what_belongs_to_another_connection_is_no_answer(handshake: Handshake) -> None:
    stale = packet(handshake, segment(handshake, SYN | ACK, acknowledged=12345))
    other_port = packet(handshake, segment(handshake, SYN | ACK, port=443))
    other_guest = packet(
        replace(handshake, target=ip_address(int(handshake.target) + 1)), segment(handshake, SYN | ACK)
    )
    assert [handshake.read(frame) for frame in (stale, other_port, other_guest)] == [None] * 3
    assert not passes(handshake, other_port)
    udp = packet(handshake, segment(handshake, SYN | ACK), protocol=17)
    assert (handshake.read(udp), passes(handshake, udp)) == (None, False)


@BOTH
@given(data=st.data())
def test_whatever_a_guest_sends_can_be_read(handshake: Handshake, data: st.DataObject) -> None:
    real = data.draw(
        st.sampled_from([packet(handshake, segment(handshake, SYN | ACK)), question(handshake), handshake.syn()])
    )
    cut = data.draw(st.integers(0, len(real)))
    frame = real[:cut] + data.draw(st.binary(max_size=64))
    reply = handshake.read(frame)
    assert reply is None or passes(handshake, frame)


def test_a_neighbour_is_told_to_the_guest_alone() -> None:
    arp, advertisement = V4.neighbour(), V6.neighbour()
    assert arp[:6] == advertisement[:6] == GUEST_MAC
    assert arp[20:22] == b"\x00\x02"
    assert (arp[22:28], arp[28:32], arp[38:42]) == (SOURCE_MAC, V4.source.packed, V4.target.packed)
    assert (advertisement[54], advertisement[62:78]) == (136, V6.source.packed)
    assert advertisement[-6:] == SOURCE_MAC


@pytest.mark.parametrize(
    ("guest", "gateway", "source"),
    [
        ("10.0.0.5/24", "10.0.0.1", "10.0.0.1"),
        ("10.0.0.5/32", "169.254.1.1", "169.254.1.1"),
        ("10.0.0.5/24", None, "10.0.0.254"),
        ("10.0.0.254/24", None, "10.0.0.253"),
        ("10.0.0.4/31", None, "10.0.0.5"),
        ("10.0.0.5/31", None, "10.0.0.4"),
        ("10.0.0.5/24", "fd00::1", "10.0.0.254"),
        ("10.0.0.5/32", None, None),
        ("fd00::5/64", None, str(SOURCE_IPV6)),
        ("fd00::5/64", "fd00::1", str(SOURCE_IPV6)),
    ],
)
def test_a_source_is_an_address_that_the_guest_has_a_route_to(
    guest: str, gateway: str | None, source: str | None
) -> None:
    chosen = choose_source(ip_interface(guest), ip_address(gateway) if gateway else None)
    assert chosen == (ip_address(source) if source else None)
