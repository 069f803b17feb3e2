"""Announcements are the frames that the RFCs describe, byte by byte, and one that cannot be sent is told."""

from ipaddress import IPv6Address

import pytest

from berth_agent.network.announcements import announce, frames

MAC = "02:be:00:00:00:07"


def test_an_ipv4_address_is_announced_by_an_arp_request_for_itself() -> None:
    (frame,) = frames(MAC, ["10.1.1.5/24"])
    assert frame.hex() == (
        "ffffffffffff" "02be00000007" "0806"  # to everybody, from the guest, ARP
        "0001" "0800" "06" "04" "0001"  # Ethernet, IPv4, request
        "02be00000007" "0a010105" "000000000000" "0a010105"  # sender and target are the same address
    )  # fmt: skip


def test_an_ipv6_address_is_advertised_to_all_nodes_with_override() -> None:
    (frame,) = frames(MAC, ["fd00::5/64"])
    assert frame[:14].hex() == "33330000000102be0000000786dd"
    header, body = frame[14:54], frame[54:]
    assert header[6:8] == bytes([58, 255]), "ICMPv6 with the hop limit that receivers insist on"
    assert header[8:24] == IPv6Address("fd00::5").packed
    assert body[0] == 136
    assert body[4:8].hex() == "20000000"
    assert body[24:].hex() == "020102be00000007"
    assert ones_complement_sum(header[8:40] + len(body).to_bytes(4, "big") + (58).to_bytes(4, "big") + body) == 0xFFFF


def ones_complement_sum(data: bytes) -> int:
    """A receiver's check: all ones if the checksum inside is right (RFC 1071)."""
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    return (total & 0xFFFF) + (total >> 16)


def test_every_address_gets_a_frame() -> None:
    assert len(frames(MAC, ["10.1.1.5/24", "fd00::5/64", "10.1.1.6"])) == 3
    assert frames(MAC, []) == ()


def test_a_link_that_is_gone_is_told() -> None:
    with pytest.raises(OSError, match="No such device"):
        announce("berth-nolink", frames(MAC, ["10.1.1.5"]))
