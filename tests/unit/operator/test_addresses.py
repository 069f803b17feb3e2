"""Handing out addresses: never twice, never outside, never one that is kept back."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.virtualnetworks import Subnet
from berth_operator.scheduling.addresses import MAX_COUNT, ExhaustedError, OutsideSubnetError, Space, Taken, choose


def subnet(cidr: str = "10.0.0.0/29", **more: object) -> Subnet:
    return Subnet.model_validate({"cidr": cidr, **more})


def taken(*addresses: str) -> Taken:
    return Taken({4: {int(ip_address(text)) for text in addresses}})


def test_the_lowest_free_address_is_given_after_network_address_and_gateway() -> None:
    assert choose((subnet(gateway="10.0.0.1"),), (), taken("10.0.0.2"), "lan") == ("10.0.0.3/29",)


def test_the_broadcast_address_is_never_given() -> None:
    all_of_them = taken(*(f"10.0.0.{last}" for last in range(1, 7)))
    with pytest.raises(ExhaustedError, match=r"network lan has no free address left in 10\.0\.0\.0/29"):
        choose((subnet(),), (), all_of_them, "lan")


def test_a_range_bounds_what_is_handed_out_but_not_what_a_user_may_ask_for() -> None:
    space = subnet(range={"start": "10.0.0.4", "end": "10.0.0.4"})
    assert choose((space,), (), Taken(), "lan") == ("10.0.0.4/29",)
    assert choose((space,), ("10.0.0.2",), Taken(), "lan") == ("10.0.0.2/29",)
    with pytest.raises(ExhaustedError):
        choose((space,), (), taken("10.0.0.4"), "lan")


def test_excluded_addresses_and_blocks_are_never_given() -> None:
    space = subnet(excluded=["10.0.0.1", "10.0.0.2/31"])
    assert choose((space,), (), Taken(), "lan") == ("10.0.0.4/29",)
    with pytest.raises(OutsideSubnetError, match=r"10\.0\.0\.3 is never given out"):
        choose((space,), ("10.0.0.3",), Taken(), "lan")


@pytest.mark.parametrize(
    ("subnets", "match"),
    [((subnet(),), r"not on network lan: choose an address of 10\.0\.0\.0/29"), ((), "no subnets")],
)
def test_an_address_of_elsewhere_is_refused(subnets: tuple[Subnet, ...], match: str) -> None:
    with pytest.raises(OutsideSubnetError, match=match):
        choose(subnets, ("192.168.1.1",), Taken(), "lan")


def test_each_subnet_gives_one_address() -> None:
    both = (subnet("10.0.0.0/24", gateway="10.0.0.1"), subnet("fd00::/64", gateway="fd00::1"))
    assert choose(both, (), Taken(), "lan") == ("10.0.0.2/24", "fd00::2/64")


def test_what_the_vm_holds_itself_is_free_for_it_and_what_its_other_nics_get_is_not() -> None:
    held = {4: {int(ip_address("10.0.0.1"))}}
    mine, other = frozenset([ip_address("10.0.0.1")]), frozenset([ip_address("10.0.0.2")])
    assert choose((subnet(),), (), Taken(held, own=mine), "lan") == ("10.0.0.1/29",)
    assert choose((subnet(),), (), Taken(held, kept=other), "lan") == ("10.0.0.3/29",)


def test_a_network_without_subnets_leaves_it_to_the_chain() -> None:
    assert choose((), (), Taken(), "lan") == ()


def test_point_to_point_subnets_use_both_addresses() -> None:
    assert choose((subnet("10.0.0.0/31"),), (), Taken(), "lan") == ("10.0.0.0/31",)


def test_counts() -> None:
    space = Space.of(subnet(gateway="10.0.0.1", range={"start": "10.0.0.1", "end": "10.0.0.4"}))
    held = {ip_address("10.0.0.2"): 1, ip_address("10.0.0.5"): 1, ip_address("192.168.0.1"): 1}
    assert space.count(held) == (2, 2)


def test_counts_of_a_huge_subnet_stay_exact_in_json() -> None:
    assert Space.of(subnet("fd00::/32")).count({}) == (0, MAX_COUNT)


subnets = st.builds(
    lambda prefix, gateway, excluded: Subnet.model_validate(
        {"cidr": f"10.0.0.0/{prefix}", "gateway": f"10.0.0.{gateway}" if gateway else None, "excluded": excluded}
    ),
    st.integers(27, 32),
    st.one_of(st.none(), st.just(0)),
    st.lists(
        st.builds(
            lambda low, size: f"10.0.0.{low - low % (1 << size)}/{32 - size}", st.integers(0, 31), st.integers(0, 3)
        ),
        max_size=4,
    ),
)


@given(subnets)
def test_until_exhausted_every_address_is_inside_allowed_and_given_once(space: Subnet) -> None:
    given: set[object] = set()
    kept_back = [ip_network(block) for block in space.excluded]
    free = Space.of(space).count({})[1]
    while True:
        try:
            (text,) = choose((space,), (), Taken({4: {int(one) for one in given}}), "lan")
        except ExhaustedError:
            break
        address = ip_interface(text).ip
        assert address not in given
        assert address in ip_network(space.cidr)
        assert not any(address in block for block in kept_back)
        given.add(address)
    assert len(given) == free
