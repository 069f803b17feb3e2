"""What a chain is asked for, the first time and when its work has to be done again."""

from tests.unit.network.samples import chain, entry, request

from berth_agent.network.attachments import Attachment
from berth_agent.network.capabilities import supplied, supplied_again

MAC = "52:54:00:00:00:01"
BEFORE = entry(
    attachment=Attachment(
        interface="default",
        container_id="c",
        sandbox="s",
        tap_device="t",
        mac_address=MAC,
        ip_addresses=("10.0.0.5/32",),
    ),
    result={"ips": [{"address": "10.0.0.5/24"}]},
)


def test_only_what_the_request_insists_on_is_supplied() -> None:
    assert supplied(request()) == {}
    asked = request(mac_address=MAC, ip_addresses=("10.0.0.5/24",))
    assert supplied(asked) == {"mac": MAC, "ips": ["10.0.0.5/24"]}


def test_the_chain_is_asked_for_its_own_choice_again_with_its_own_prefix() -> None:
    assert supplied_again(request(), BEFORE) == {"mac": MAC, "ips": ["10.0.0.5/24"]}


def test_what_the_chain_does_not_take_is_not_asked_again() -> None:
    assert supplied_again(request(chain=chain({"type": "ptp"})), BEFORE) == {}


def test_a_changed_request_wins_over_the_past() -> None:
    assert supplied_again(request(ip_addresses=("10.0.0.9/24",)), BEFORE)["ips"] == ["10.0.0.9/24"]


def test_another_network_starts_afresh() -> None:
    assert supplied_again(request(network_name="other"), BEFORE) == {}


def test_a_repeated_attempt_still_knows_what_the_first_asked_for() -> None:
    assert supplied_again(request(), entry(capability_args={"mac": MAC})) == {"mac": MAC}
