"""Conflists are read as the CNI specification says, and refused with what to change."""

import json

import pytest
from tests.unit.network.samples import chain

from berth_agent.network.chains import parse_chain, plugin_config, require_capabilities
from berth_agent.network.errors import CapabilityMissing, ChainInvalid, PodNetworkUnsupported


def test_a_single_plugin_is_wrapped() -> None:
    parsed = parse_chain('{"cniVersion": "0.4.0", "name": "n", "type": "ptp", "ipam": {"type": "host-local"}}')
    assert (parsed.name, parsed.cni_version, parsed.plugin_types) == ("n", "0.4.0", ("ptp", "host-local"))


def test_a_missing_name_is_the_objects() -> None:
    assert parse_chain({"cniVersion": "1.0.0", "type": "ptp"}, default_name="object").name == "object"


def test_the_highest_version_that_both_know_is_used() -> None:
    offered = {"cniVersion": "0.3.1", "cniVersions": ["0.3.1", "1.1.0", "9.0.0"], "name": "n", "type": "ptp"}
    assert parse_chain(offered).cni_version == "1.1.0"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{", "no JSON"),
        ("[]", "must be a JSON object"),
        ({"cniVersion": "1.0.0", "name": "n"}, "either 'plugins'"),
        ({"cniVersion": "1.0.0", "name": "n", "plugins": []}, "at least one plugin"),
        ({"cniVersion": "1.0.0", "name": "n", "plugins": ["bridge"]}, r"plugins\[0\] must be an object"),
        ({"cniVersion": "0.1.0", "name": "n", "type": "ptp"}, "use one of 0.3.1"),
        ({"name": "n", "type": "ptp"}, "cniVersion None is not supported"),
        ({"cniVersion": "1.0.0", "type": "ptp"}, "network name None"),
        ({"cniVersion": "1.0.0", "name": "../n", "type": "ptp"}, "network name '../n'"),
        ({"cniVersion": "1.0.0", "name": "n", "type": "../../bin/sh"}, "must be a file name"),
        ({"cniVersion": "1.0.0", "name": "n", "type": ".."}, "must be a file name"),
        ({"cniVersion": "1.0.0", "name": "n", "type": "ptp", "ipam": {"type": "a/b"}}, "ipam.type"),
        ({"cniVersion": "1.0.0", "name": "n", "type": "ptp", "ipam": "static"}, "ipam must be an object"),
        ({"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "ptp"}], "disableCheck": "no"}, "true or false"),
    ],
)
def test_what_is_no_chain_is_refused(source: object, said: str) -> None:
    with pytest.raises(ChainInvalid, match=said):
        parse_chain(source)  # type: ignore[arg-type] # hostile on purpose


@pytest.mark.parametrize(
    "plugin", [{"type": "multus"}, {"type": "calico"}, {"type": "bridge", "ipam": {"type": "whereabouts"}}]
)
def test_a_chain_that_needs_a_pod_is_refused_by_name(plugin: dict[str, object]) -> None:
    with pytest.raises(PodNetworkUnsupported, match=r"which works for Pods only: .+ Use a chain that needs no Pod"):
        chain(plugin)


def test_a_plugin_gets_only_the_capabilities_that_it_declares() -> None:
    parsed = chain(
        {"type": "bridge", "capabilities": {"ips": True, "mac": False}},
        {"type": "tuning", "capabilities": {"mac": True}, "sysctl": {}},
    )
    supplied = {"ips": ["10.0.0.1/24"], "mac": "52:54:00:00:00:01"}
    bridge, tuning = (plugin_config(parsed, plugin, supplied, {"ips": []}) for plugin in parsed.plugins)
    assert bridge["runtimeConfig"] == {"ips": ["10.0.0.1/24"]}
    assert tuning["runtimeConfig"] == {"mac": "52:54:00:00:00:01"}
    assert "capabilities" not in tuning


def test_a_plugins_own_name_and_version_give_way_to_the_lists() -> None:
    parsed = chain({"type": "bridge", "name": "mine", "cniVersion": "0.1.0", "mtu": 1400})
    config = plugin_config(parsed, parsed.plugins[0], {}, None)
    assert config == {"type": "bridge", "name": "net", "cniVersion": "1.0.0", "mtu": 1400}


def test_the_first_plugin_has_no_previous_result_and_later_ones_do() -> None:
    parsed = chain()
    assert "prevResult" not in plugin_config(parsed, parsed.plugins[0], {}, None)
    assert plugin_config(parsed, parsed.plugins[0], {}, {"ips": []})["prevResult"] == {"ips": []}


def test_supplying_what_nobody_declares_says_how_to_declare_it() -> None:
    with pytest.raises(CapabilityMissing) as caught:
        require_capabilities(chain({"type": "ptp"}), {"mac": "52:54:00:00:00:01", "ips": []})
    assert json.dumps({"ips": True, "mac": True}) in str(caught.value)


@pytest.mark.parametrize(
    ("version", "more", "check", "result"),
    [
        ("0.3.1", {}, False, False),
        ("0.4.0", {}, True, True),
        ("1.1.0", {"disableCheck": True}, False, True),
        ("1.1.0", {"disableCheck": "true"}, False, True),
    ],
)
def test_what_a_version_has(version: str, more: dict[str, object], check: bool, result: bool) -> None:
    parsed = chain(version=version, **more)
    assert (parsed.has_check, parsed.del_takes_result) == (check, result)
