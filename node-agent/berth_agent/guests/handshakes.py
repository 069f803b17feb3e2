"""The first half of a TCP handshake, as Ethernet frames. Pure.

A connection to a guest is accepted when its SYN is answered by a SYN and ACK; that is all that connect(2) waits for,
and all that is asked here. An RST takes the half-open connection back, so the guest's program never hears of it.
docs/decisions/0010-probes.md says why the frames are made here and not by the kernel.
Sources: RFC 9293 (TCP), sections 3.1 and 3.5; RFC 826 (ARP); RFC 4861, sections 4.3 and 4.4 (neighbour discovery).
"""

import struct
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

Address = IPv4Address | IPv6Address
SOURCE_MAC = bytes.fromhex("02be27000001")
"""Locally administered. Frames from it go to a guest only, never to the network."""
SOURCE_IPV6 = IPv6Address("fe80::be27:0:0:1")

_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_TCP, _ICMPV6 = 6, 58
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_SOLICITED_OVERRIDE = 0x60000000
_TARGET_LINK_LAYER_ADDRESS = (2, 1)
_MAX_SEGMENT_SIZE = bytes([2, 4]) + struct.pack("!H", 1220)
"""What the smallest link of IPv6 takes; no data ever follows."""


class Reply(Enum):
    """What a frame of the guest means."""

    ACCEPTED = "Accepted"
    REFUSED = "Refused"
    WHO_HAS = "WhoHas"
    """It looks for the source's MAC."""


def choose_source(guest: IPv4Interface | IPv6Interface, gateway: Address | None) -> Address | None:
    """The address to ask from: one that the guest has a route to over the very link that it is asked on.

    IPv6 has link-local addresses for it. In IPv4 the gateway is such an address, and where there is none, the last one
    of the guest's subnet; whether anybody has it does not matter.

    Returns:
        None: there is no such address.
    """
    if isinstance(guest, IPv6Interface):
        return SOURCE_IPV6
    if isinstance(gateway, IPv4Address):
        return gateway
    network = guest.network
    last = int(network.broadcast_address) - (1 if network.prefixlen <= 30 else 0)  # noqa: PLR2004 - RFC 3021
    candidates = (IPv4Address(last), IPv4Address(last - 1)) if network.prefixlen < 32 else ()  # noqa: PLR2004
    return next((address for address in candidates if address != guest.ip), None)


@dataclass(frozen=True)
class Handshake:
    """One attempt to connect.

    Attributes:
        guest_mac: where the frames go.
        source: as `choose_source` has it.
        target: the guest's address, of the same family.
        source_port: to tell the attempt from others.
        sequence: 32 bits that only the guest gets to know.
    """

    guest_mac: bytes
    source: Address
    target: Address
    source_port: int
    port: int
    sequence: int

    def syn(self) -> bytes:
        """The frame that asks."""
        return self._segment(self.sequence, _SYN, _MAX_SEGMENT_SIZE)

    def reset(self) -> bytes:
        """The frame that takes an accepted connection back."""
        return self._segment(self._expected, _RST)

    def neighbour(self) -> bytes:
        """The frame that tells the guest where the source is."""
        if isinstance(self.source, IPv4Address):
            body = struct.pack("!HHBBH", 1, _IPV4, 6, 4, 2)
            body += SOURCE_MAC + self.source.packed + self.guest_mac + self.target.packed
            return self._ethernet(_ARP) + body
        option = bytes(_TARGET_LINK_LAYER_ADDRESS) + SOURCE_MAC
        return self._datagram(
            _ICMPV6,
            struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _SOLICITED_OVERRIDE) + self.source.packed + option,
            checksum_at=2,
        )

    def read(self, frame: bytes) -> Reply | None:
        """What a frame that the guest has sent means to this attempt; None: nothing. Never raises."""
        try:
            return self._read(frame)
        except (struct.error, IndexError):
            return None

    @property
    def _expected(self) -> int:
        return (self.sequence + 1) & 0xFFFF_FFFF

    def _read(self, frame: bytes) -> Reply | None:
        (kind,) = struct.unpack_from("!H", frame, 12)
        packet = frame[14:]
        if kind == _ARP and self.source.version == 4:  # noqa: PLR2004
            is_request = struct.unpack_from("!H", packet, 6) == (1,)
            return Reply.WHO_HAS if is_request and packet[24:28] == self.source.packed else None
        if kind == _IPV4 and self.source.version == 4:  # noqa: PLR2004
            ends = self.target.packed + self.source.packed
            if packet[9] != _TCP or packet[12:20] != ends:
                return None
            return self._read_segment(packet[(packet[0] & 0xF) * 4 :])
        if kind == _IPV6 and self.source.version == 6:  # noqa: PLR2004
            if packet[6] == _ICMPV6:
                asks = packet[40] == _SOLICITATION and packet[48:64] == self.source.packed
                return Reply.WHO_HAS if asks else None
            if packet[6] == _TCP and packet[8:40] == self.target.packed + self.source.packed:
                return self._read_segment(packet[40:])
        return None

    def _read_segment(self, segment: bytes) -> Reply | None:
        source, target, _, acknowledged, _, flags = struct.unpack_from("!HHIIBB", segment)
        if (source, target, acknowledged) != (self.port, self.source_port, self._expected):
            return None
        if flags & _RST:
            return Reply.REFUSED
        return Reply.ACCEPTED if flags & _SYN and flags & _ACK else None

    def _segment(self, sequence: int, flags: int, options: bytes = b"") -> bytes:
        words = (20 + len(options)) // 4
        head = struct.pack(
            "!HHIIBBHHH", self.source_port, self.port, sequence, 0, words << 4, flags, 0xFFFF if options else 0, 0, 0
        )
        return self._datagram(_TCP, head + options, checksum_at=16)

    def _datagram(self, protocol: int, payload: bytes, *, checksum_at: int) -> bytes:
        ends = self.source.packed + self.target.packed
        if isinstance(self.source, IPv4Address):
            pseudo = ends + struct.pack("!HH", protocol, len(payload))
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0) + ends
            head = _summed(head, 10, head)
            kind = _IPV4
        else:
            pseudo = ends + struct.pack("!II", len(payload), protocol)
            head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + ends
            kind = _IPV6
        return self._ethernet(kind) + head + _summed(payload, checksum_at, pseudo + payload)

    def _ethernet(self, kind: int) -> bytes:
        return self.guest_mac + SOURCE_MAC + struct.pack("!H", kind)


def _summed(data: bytes, at: int, covered: bytes) -> bytes:
    """The data with the internet checksum (RFC 1071) of what it covers, an even number of bytes, put in."""
    total = sum(struct.unpack(f"!{len(covered) // 2}H", covered))
    while total > 0xFFFF:  # noqa: PLR2004 - 16 bits
        total = (total & 0xFFFF) + (total >> 16)
    return data[:at] + struct.pack("!H", ~total & 0xFFFF) + data[at + 2 :]
