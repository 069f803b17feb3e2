"""Messages are laid out as the kernel reads them, and its answers are understood, refusals above all."""

import errno
import struct

import pytest

from berth_agent.network.filters import selector
from berth_agent.network.links import find
from berth_agent.network.netlink import Netlink, NetlinkError, attribute, attributes, parse_attributes, text


def test_an_attribute_is_padded_and_says_its_length_without_the_padding() -> None:
    assert attribute(3, text("lo")) == struct.pack("=HH", 7, 3) + b"lo\0" + b"\0"
    assert attribute(4, b"1234") == struct.pack("=HH", 8, 4) + b"1234"


def test_attributes_are_read_back_without_their_flags() -> None:
    nested = 0x8000
    data = attributes({1: b"a", 2: b"bcde"}) + attribute(nested | 5, attribute(1, b"x"))
    assert parse_attributes(data) == {1: b"a", 2: b"bcde", 5: attribute(1, b"x")}


@pytest.mark.parametrize("rest", [b"", b"\1", b"\0\0\0\0", b"\2\0\1\0", b"\xff\xff\1\0abc"])
def test_a_broken_tail_ends_the_reading(rest: bytes) -> None:
    assert parse_attributes(attribute(9, b"last") + rest)[9] == b"last"


def test_a_selector_has_its_keys_in_the_order_of_the_network() -> None:
    made = selector([(0x00FF0000, 17 << 16, 8)])
    assert made == struct.pack("=BBBx4H I", 1, 0, 1, 0, 0, 0, 0, 0) + bytes.fromhex("00ff0000 00110000") + struct.pack(
        "=ii", 8, 0
    )


def test_loopback_is_found() -> None:
    with Netlink() as netlink:
        link = find(netlink, "lo")
    assert (link.index, link.mac_address) == (1, "00:00:00:00:00:00")
    assert link.mtu >= 1500


def test_a_refusal_says_what_was_asked_and_why_not() -> None:
    with Netlink() as netlink:
        with pytest.raises(NetlinkError, match="look at berth-nolink: No such device") as refused:
            find(netlink, "berth-nolink")
        assert refused.value.errno == errno.ENODEV
        assert find(netlink, "lo").index == 1, "the socket goes on working"
