"""dnsmasq's command line says exactly what the guest may be told."""

from pathlib import Path
from typing import Any

import pytest

from berth_agent.network.attachments import Attachment, Route
from berth_agent.network.leases import dnsmasq_arguments, lease_of


def arguments(hostname: str = "web", **values: Any) -> list[str]:
    defaults: dict[str, Any] = {
        "interface": "default",
        "container_id": "c",
        "sandbox": "s",
        "tap_device": "bt0",
        "mac_address": "52:54:00:00:00:01",
        "ip_addresses": ("10.0.0.5/24",),
        "gateway": "10.0.0.1",
        "dns_servers": ("10.0.0.2", "fd00::2", "10.0.0.3"),
        "mtu": 1400,
    }
    lease = lease_of(Attachment(**{**defaults, **values}), hostname)
    assert lease is not None
    return dnsmasq_arguments(lease, Path("/state/c.pid"), "nobody")


def options(number: int, given: list[str]) -> list[str]:
    return [text for text in given if text.startswith((f"--dhcp-option={number},", f"--dhcp-option={number} "))]


def test_a_guest_is_told_its_router_servers_and_mtu() -> None:
    given = arguments()
    assert "--dhcp-host=52:54:00:00:00:01,10.0.0.5,web,infinite" in given
    assert "--dhcp-range=10.0.0.0,static,255.255.255.0,infinite" in given
    assert {"--dhcp-option=3,10.0.0.1", "--dhcp-option=6,10.0.0.2,10.0.0.3", "--dhcp-option=26,1400"} <= set(given)
    assert not options(121, given)


def test_it_serves_no_names_and_reads_no_files_of_the_node() -> None:
    assert {"--port=0", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--leasefile-ro"} <= set(arguments())


def test_a_guest_without_gateway_and_servers_is_not_told_dnsmasqs_own() -> None:
    given = arguments(gateway=None, dns_servers=())
    assert {"--dhcp-option=3", "--dhcp-option=6"} <= set(given)


def test_a_gateway_off_the_subnet_gets_a_route_on_the_link_first() -> None:
    given = arguments(ip_addresses=("10.0.0.5/32",))
    assert options(121, given) == ["--dhcp-option=121,10.0.0.1/32,0.0.0.0,0.0.0.0/0,10.0.0.1"]


def test_with_classless_routes_the_default_route_is_among_them() -> None:
    routes = (Route("172.16.0.0/12", "10.0.0.9"), Route("192.168.0.0/16"), Route("fd01::/64", "fd00::1"))
    assert options(121, arguments(routes=routes)) == [
        "--dhcp-option=121,172.16.0.0/12,10.0.0.9,192.168.0.0/16,10.0.0.1,0.0.0.0/0,10.0.0.1"
    ]


@pytest.mark.parametrize("name", ["ignore", "infinite", "deprecated", "10", "5m"])
def test_names_that_dnsmasq_reads_otherwise_are_left_out(name: str) -> None:
    assert "--dhcp-host=52:54:00:00:00:01,10.0.0.5,infinite" in arguments(name)


def test_a_guest_without_an_ipv4_address_gets_no_server() -> None:
    attachment = Attachment(
        interface="default",
        container_id="c",
        sandbox="s",
        tap_device="t",
        mac_address="m",
        ip_addresses=("fd00::5/64",),
    )
    assert lease_of(attachment, "web") is None
