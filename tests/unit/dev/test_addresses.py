"""Clusters get addresses and link names that collide with nothing."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_dev.addresses import MAX_CLUSTERS, MAX_NODES, AddressPlan, free_index, parse_networks
from berth_dev.errors import DevError

indexes = st.integers(0, MAX_CLUSTERS - 1)


@given(indexes)
def test_every_subnet_lies_in_the_clusters_own_network_and_none_overlap(index: int) -> None:
    plan = AddressPlan(index)
    subnets = [plan.underlay, plan.vm_subnet, plan.service_subnet, plan.pods]
    assert all(subnet.subnet_of(plan.network) for subnet in subnets)
    assert not any(one.overlaps(other) for one in subnets for other in subnets if one is not other)


@given(indexes, st.integers(1, MAX_NODES))
def test_link_names_fit_the_kernel_and_node_addresses_are_apart_from_the_hosts(index: int, number: int) -> None:
    plan = AddressPlan(index)
    names = {plan.underlay_bridge, plan.vm_bridge, plan.uplink(number), plan.vm_port(number)}
    assert len(names) == 4
    assert all(len(name) <= 15 for name in names)
    assert plan.node(number) in plan.underlay
    assert plan.node(number) not in {plan.control_plane, plan.image_server}


@given(indexes, indexes)
def test_no_link_of_one_cluster_carries_the_prefix_of_another(one: int, other: int) -> None:
    if one != other:
        assert not AddressPlan(one).vm_port(MAX_NODES).startswith(AddressPlan(other).link_prefix)
        assert not AddressPlan(one).network.overlaps(AddressPlan(other).network)
        assert AddressPlan(one).loopback != AddressPlan(other).loopback


def test_the_lowest_index_is_taken_that_nothing_uses() -> None:
    assert free_index([], [], []) == 0
    assert free_index([0], [IPv4Network("10.89.4.0/24")], ["eth0", "berth2-u"]) == 3


def test_a_network_that_covers_every_cluster_leaves_no_index() -> None:
    with pytest.raises(DevError, match="take a cluster down"):
        free_index([], [IPv4Network("10.0.0.0/8")], [])


def test_the_default_route_is_no_network_and_a_host_route_is_a_small_one() -> None:
    assert parse_networks(["default", "192.0.2.0/24", "198.51.100.7"]) == [
        IPv4Network("192.0.2.0/24"),
        IPv4Network("198.51.100.7/32"),
    ]


@pytest.mark.parametrize("index", [-1, MAX_CLUSTERS])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="index"):
        AddressPlan(index)


@pytest.mark.parametrize("number", [0, MAX_NODES + 1])
def test_a_node_number_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="numbered"):
        AddressPlan(0).node(number)


def test_the_gateway_of_guests_is_the_host() -> None:
    assert AddressPlan(2).vm_gateway == IPv4Address("10.90.1.1")
