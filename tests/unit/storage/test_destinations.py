"""Which addresses images may come from: pure, so every class of address is tried in every spelling."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.errors import DestinationForbidden

POLICY = DestinationPolicy.of(denied_cidrs=["10.96.0.0/12", "10.244.0.0/16", "fd00:10::/64", "192.0.2.10"])

REFUSED_V4 = ["127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "10.96.0.0/12"]
REFUSED_V6 = ["::/128", "::1/128", "fe80::/10", "ff00::/8", "64:ff9b:1::/48", "fd00:10::/64", "fec0::/10"]


def within(cidrs: list[str]) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    networks = [ip_network(cidr) for cidr in cidrs]
    return st.one_of(
        st.integers(int(network.network_address), int(network.broadcast_address)).map(
            IPv4Address if network.version == 4 else IPv6Address
        )
        for network in networks
    )


def spellings(address: IPv4Address) -> list[IPv6Address]:
    number = int(address)
    return [
        IPv6Address(0xFFFF << 32 | number),  # IPv4-mapped
        IPv6Address(0x2002 << 112 | number << 80 | 1),  # 6to4
        IPv6Address((0x64FF9B << 96) | number),  # NAT64
        IPv6Address(0xFFFF << 48 | number),  # SIIT
        IPv6Address((0x20010DB8 << 96) | 0x00005EFE << 32 | number),  # ISATAP
        IPv6Address((0x20010000 << 96) | (1 << 64) | (number ^ 0xFFFFFFFF)),  # Teredo's client
        IPv6Address((0x20010000 << 96) | (number << 64) | 0xFEFEFEFE),  # Teredo's server
    ]


@given(within(REFUSED_V4))
def test_an_ipv4_address_is_refused_in_every_ipv6_spelling(address: IPv4Address) -> None:
    assert POLICY.refusal(address) is not None
    for spelling in spellings(address):
        assert POLICY.refusal(spelling) is not None, spelling


@given(within(REFUSED_V6))
def test_an_ipv6_address_is_refused_with_and_without_a_zone(address: IPv6Address) -> None:
    assert POLICY.refusal(address) is not None
    assert POLICY.refusal(ip_address(f"{address}%eth0")) is not None


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_is_refused_is_what_the_networks_say(address: IPv4Address | IPv6Address) -> None:
    plainly = any(address in ip_network(cidr) for cidr in REFUSED_V4 + REFUSED_V6)
    if plainly:
        assert POLICY.refusal(address) is not None
    elif isinstance(address, IPv4Address) and POLICY.refusal(address) is not None:
        assert any(address in network for network, _ in POLICY.denied)


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "172.16.0.1", "2001:db8::1", "fd00:20::1", "1.1.1.1"])
def test_other_addresses_are_not_refused(address: str) -> None:
    assert POLICY.refusal(ip_address(address)) is None


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "168.63.129.16", "100.100.100.200"])
def test_metadata_services_are_refused(address: str) -> None:
    assert POLICY.refusal(ip_address(address)) is not None


def test_a_denied_address_needs_no_prefix_length() -> None:
    assert POLICY.refusal(ip_address("192.0.2.10")) == "denied on this node, in 192.0.2.10/32"
    assert POLICY.refusal(ip_address("192.0.2.11")) is None


def test_the_administrator_may_allow_what_is_denied_in_every_spelling() -> None:
    policy = DestinationPolicy.of(denied_cidrs=["10.0.0.0/8"], allowed_cidrs=["10.1.2.0/24", "127.0.0.1"])
    assert policy.refusal(ip_address("10.1.2.3")) is None
    assert policy.refusal(ip_address("::ffff:10.1.2.3")) is None
    assert policy.refusal(ip_address("127.0.0.1")) is None
    assert policy.refusal(ip_address("10.1.3.3")) is not None
    assert policy.refusal(ip_address("127.0.0.2")) is not None


def test_allowing_a_spelling_does_not_allow_what_it_spells() -> None:
    policy = DestinationPolicy.of(allowed_cidrs=["64:ff9b::/96"])
    assert policy.refusal(ip_address("64:ff9b::127.0.0.1")) is not None
    assert policy.refusal(ip_address("64:ff9b::192.0.2.1")) is None


def test_a_refusal_says_which_address_and_who_may_allow_it() -> None:
    with pytest.raises(DestinationForbidden, match=r"169\.254\.169\.254 \(link-local.*administrator.*allowed CIDRs"):
        POLICY.check(ip_address("169.254.169.254"))


def test_an_address_of_the_node_itself_is_refused() -> None:
    bare = DestinationPolicy(denied=())
    with pytest.raises(DestinationForbidden, match="an address of the node itself"):
        bare.check(ip_address("127.0.0.1"))
    DestinationPolicy(denied=(), deny_own_addresses=False).check(ip_address("127.0.0.1"))
    DestinationPolicy(denied=(), allowed=(ip_network("127.0.0.1"),)).check(ip_address("127.0.0.1"))


def test_no_socket_is_made_for_a_refused_address() -> None:
    with pytest.raises(DestinationForbidden):
        POLICY.open_socket((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 2)))
    allowed = DestinationPolicy.of(allowed_cidrs=["127.0.0.1"])
    with allowed.open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))) as made:
        assert made.family is socket.AF_INET


@pytest.mark.parametrize("cidr", ["", "10.0.0.0/33", "example.org"])
def test_a_setting_that_is_no_network_is_refused(cidr: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        DestinationPolicy.of(denied_cidrs=[cidr])
