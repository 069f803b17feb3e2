"""What a user wrote reaches no command line, file or plugin in a shape that nobody expects."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.network.samples import request

from berth_agent.network.attachments import Route
from berth_agent.network.errors import RequestInvalid
from berth_agent.network.names import LinkNames


@pytest.mark.parametrize(
    "values",
    [
        {"owner_uid": ""},
        {"interface": "../../etc"},
        {"interface": "a" * 64},
        {"interface": "eth0\n"},
        {"hostname": "web,infinite"},
        {"hostname": "-web"},
        {"hostname": "WEB"},
        {"mac_address": "01:00:5e:00:00:01"},
        {"mac_address": "00:00:00:00:00:00"},
        {"mac_address": "52:54:00:00:00:01,ignore"},
        {"mac_address": "52:54:00:00:00:AB"},
        {"ip_addresses": ("10.0.0.300/24",)},
        {"gateway": "10.0.0.1,3"},
        {"dns_servers": ("example.com",)},
        {"routes": (Route("10.0.0.1/8"),)},
        {"routes": (Route("10.0.0.0/8", "next"),)},
        {"mtu": 20},
        {"mtu": 1_000_000},
        {"queues": 0},
        {"queues": 1000},
    ],
)
def test_a_hostile_request_cannot_be_made(values: dict[str, object]) -> None:
    with pytest.raises(RequestInvalid):
        request(**values)


@given(st.text(min_size=1), st.text())
def test_any_owner_and_interface_gives_safe_names(owner: str, interface: str) -> None:
    names = LinkNames.of(owner, interface)
    for name in (names.tap, names.veth):
        assert re.fullmatch(r"b[tv][0-9a-f]{12}", name)
    assert names == LinkNames.of(owner, interface)
    assert re.fullmatch(r"berth-[0-9a-f]{12}-[0-9a-f]{8}", names.sandbox("0123456789abcdef"))


def test_the_border_between_owner_and_interface_counts() -> None:
    assert LinkNames.of("ab", "c") != LinkNames.of("a", "bc")
