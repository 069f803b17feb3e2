"""What the chain made, set against what was asked for."""

from typing import Any

import pytest
from tests.unit.network.samples import request

from berth_agent.network.attachments import Route
from berth_agent.network.errors import AddressNotHonoured, RequestInvalid
from berth_agent.network.results import GuestNetwork, Interface, read_result

MAC = "52:54:00:00:00:01"
RESULT = {
    "ips": [{"address": "10.0.0.5/24", "gateway": "10.0.0.1"}],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "172.16.0.0/12", "gw": "10.0.0.9"}],
    "dns": {"nameservers": ["10.0.0.2"]},
}


def interface(**values: Any) -> Interface:
    return Interface(**{"mac_address": MAC, "mtu": 1500, "connected": frozenset({"10.0.0.0/24"}), **values})


def read(result: dict[str, Any] | None = None, link: Interface | None = None, **values: Any) -> GuestNetwork:
    return read_result(request(**values), RESULT if result is None else result, link or interface())


def test_the_chains_own_choice_is_taken_over() -> None:
    assert read() == GuestNetwork(
        mac_address=MAC,
        ip_addresses=("10.0.0.5/24",),
        gateway="10.0.0.1",
        dns_servers=("10.0.0.2",),
        routes=(Route("172.16.0.0/12", "10.0.0.9"),),
        mtu=1500,
    )


def test_the_requests_gateway_and_servers_win() -> None:
    guest = read(gateway="10.0.0.254", dns_servers=("9.9.9.9",), mtu=1400)
    assert (guest.gateway, guest.dns_servers, guest.mtu) == ("10.0.0.254", ("9.9.9.9",), 1400)


def test_without_a_default_route_there_is_no_gateway() -> None:
    assert read({"ips": RESULT["ips"]}).gateway is None


def test_the_mac_is_the_links_and_not_the_results() -> None:
    result = {**RESULT, "interfaces": [{"name": "eth0", "mac": "52:54:00:00:00:ff"}]}
    assert read(result).mac_address == MAC


def test_a_point_to_point_guest_has_no_neighbours() -> None:
    assert read(link=interface(connected=frozenset({"10.0.0.1"}))).ip_addresses == ("10.0.0.5/32",)


@pytest.mark.parametrize(
    "asked",
    [
        {"mac_address": "52:54:00:00:00:02"},
        {"ip_addresses": ("10.0.0.6/24",)},
        {"ip_addresses": ("10.0.0.5/24", "fd00::1/64")},
    ],
)
def test_another_address_than_asked_for_is_an_error(asked: dict[str, Any]) -> None:
    with pytest.raises(AddressNotHonoured):
        read(**asked)


def test_a_chain_without_addresses_honours_none() -> None:
    with pytest.raises(AddressNotHonoured, match="gave no address"):
        read({}, ip_addresses=("10.0.0.5/24",))


def test_an_mtu_above_the_chains_is_an_error() -> None:
    with pytest.raises(RequestInvalid, match="lower the network's"):
        read(mtu=1501)
