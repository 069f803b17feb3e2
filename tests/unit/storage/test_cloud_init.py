"""What the guest is told, compared with golden files; `BERTH_REWRITE_GOLDEN=1` writes them anew."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from berth_agent.storage.cloud_init import Seed, SeedInterface, SeedRoute, documents, hostname, instance_id
from berth_agent.storage.seeds import digest_of, iso_of

GOLDEN = Path(__file__).parent / "golden"

SEED = Seed(
    vm_uid="0b9b1f3c-5a8e-4f30-8a52-5a3f1d7c0001",
    vm_name="web-1",
    interfaces=(
        SeedInterface(
            name="default",
            mac_address="52:54:00:12:34:56",
            addresses=("10.1.0.5/24", "2001:db8::5/64"),
            gateways=("10.1.0.1", "2001:db8::1"),
            routes=(SeedRoute(to="192.168.7.0/24", via="10.1.0.254"),),
            dns_servers=("10.1.0.2", "2001:db8::"),
            mtu=1450,
        ),
        SeedInterface(
            name="routed", mac_address="52:54:00:AB:CD:EF", addresses=("203.0.113.9/32",), gateways=("169.254.1.1",)
        ),
        SeedInterface(name="dynamic", mac_address="12:34:56:12:34:56"),
    ),
    ssh_authorized_keys=(
        "ssh-ed25519 AAAA alice@example.org\n",
        "ssh-rsa BBBB bob: [x] #y\nssh-ed25519 AAAA alice@example.org",
    ),
    user_data=b"#!/bin/sh\necho hello\n",
)


def network_of(seed: Seed) -> dict[str, object]:
    return yaml.safe_load(documents(seed)["network-config"])


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("full", SEED),
        ("bare", Seed(vm_uid="0b9b1f3c-5a8e-4f30-8a52-5a3f1d7c0002", vm_name="bare")),
    ],
)
def test_the_documents_are_as_agreed(name: str, seed: Seed) -> None:
    for document, data in documents(seed).items():
        golden = GOLDEN / f"{name}.{document}"
        if os.environ.get("BERTH_REWRITE_GOLDEN"):
            golden.parent.mkdir(exist_ok=True)
            golden.write_bytes(data)
        assert data.decode() == golden.read_text()


@pytest.mark.parametrize(
    "user_data", [b"", b"#cloud-config\nhostname: other\n", b"\x1f\x8b\0gzip", b"\xff\xfe", b"---\n..."]
)
def test_user_data_is_the_users_bytes(user_data: bytes) -> None:
    assert documents(replace(SEED, user_data=user_data))["user-data"] == user_data


def test_without_user_data_the_guest_gets_an_empty_one() -> None:
    assert documents(replace(SEED, user_data=None))["user-data"] == b"#cloud-config\n"


@pytest.mark.parametrize(
    "changed",
    [
        {"addresses": ("10.1.0.6/24",)},
        {"mac_address": "52:54:00:12:34:57"},
        {"gateways": ()},
        {"mtu": 1500},
        {"dns_servers": ("10.1.0.3",)},
    ],
)
def test_another_network_is_another_instance(changed: dict[str, object]) -> None:
    first, *others = SEED.interfaces
    other = replace(SEED, interfaces=(replace(first, **changed), *others))
    assert instance_id(other) != instance_id(SEED)
    assert instance_id(other).startswith(SEED.vm_uid)


@pytest.mark.parametrize("changed", [{"user_data": b"other"}, {"ssh_authorized_keys": ()}, {"vm_name": "other"}])
def test_other_keys_or_user_data_are_no_other_instance(changed: dict[str, object]) -> None:
    assert instance_id(replace(SEED, **changed)) == instance_id(SEED)


def test_an_instance_id_does_not_change_between_releases() -> None:
    assert instance_id(SEED) == "0b9b1f3c-5a8e-4f30-8a52-5a3f1d7c0001-6c6347b769db"


def test_a_gateway_outside_the_subnet_is_reached_on_the_link() -> None:
    ethernets = network_of(
        replace(
            SEED,
            interfaces=(
                SeedInterface(
                    name="a", mac_address="52:54:00:00:00:01", addresses=("10.0.0.5/32",), gateways=("10.0.0.1",)
                ),
                SeedInterface(
                    name="b", mac_address="52:54:00:00:00:02", addresses=("10.0.0.6/24",), gateways=("10.0.0.1",)
                ),
            ),
        )
    )["ethernets"]
    assert ethernets["a"]["routes"] == [
        {"to": "10.0.0.1/32", "via": "0.0.0.0", "scope": "link"},  # noqa: S104 - a route without a next hop, not a bind
        {"to": "0.0.0.0/0", "via": "10.0.0.1", "on-link": True},
    ]
    assert ethernets["b"]["routes"] == [{"to": "0.0.0.0/0", "via": "10.0.0.1"}]


def test_an_ipv6_default_route_is_a_gateway_because_debians_cloud_init_misreads_it() -> None:
    interface = SeedInterface(
        name="a",
        mac_address="52:54:00:00:00:01",
        addresses=("2001:db8::5/128",),
        gateways=("fe80::1",),
        routes=(SeedRoute(to="fd00::/48", via="2001:db8::1"),),
    )
    ethernet = network_of(replace(SEED, interfaces=(interface,)))["ethernets"]["a"]
    assert ethernet["gateway6"] == "fe80::1"
    assert ethernet["routes"] == [
        {"to": "2001:db8::1/128", "via": "::", "scope": "link"},
        {"to": "fd00::/48", "via": "2001:db8::1", "on-link": True},
    ]


@pytest.mark.parametrize(
    "changed", [{"addresses": ("10.0.0.300/24",)}, {"gateways": ("gate",)}, {"dns_servers": ("a: b",)}]
)
def test_an_address_that_is_none_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        documents(replace(SEED, interfaces=(replace(SEED.interfaces[0], **changed),)))


@given(
    name=st.text(),
    mac=st.text(),
    keys=st.lists(st.text(), max_size=3),
    interface=st.text(),
    user_data=st.binary(max_size=50),
)
def test_no_string_becomes_structure(name: str, mac: str, keys: list[str], interface: str, user_data: bytes) -> None:
    seed = Seed(
        vm_uid=SEED.vm_uid,
        vm_name=name,
        interfaces=(SeedInterface(name=interface, mac_address=mac, addresses=("10.0.0.5/24",)),),
        ssh_authorized_keys=tuple(keys),
        user_data=user_data,
    )
    found = documents(seed)
    meta = yaml.safe_load(found["meta-data"])
    assert meta.keys() <= {"instance-id", "local-hostname", "public-keys"}
    assert meta["local-hostname"] == hostname(name)
    for key in meta.get("public-keys", []):
        assert len(key.splitlines()) == 1
    assert yaml.safe_load(found["network-config"]) == {
        "version": 2,
        "ethernets": {
            interface: {"match": {"macaddress": mac.lower()}, "dhcp4": False, "addresses": ["10.0.0.5/24"]},
        },
    }


@given(st.integers(0, 2**48 - 1))
def test_a_mac_address_stays_a_string(number: int) -> None:
    mac = ":".join(f"{number:012x}"[at : at + 2] for at in range(0, 12, 2))
    seed = replace(SEED, interfaces=(SeedInterface(name="default", mac_address=mac),))
    assert network_of(seed)["ethernets"] == {"default": {"match": {"macaddress": mac}, "dhcp4": True}}


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True))
def test_a_hostname_fits_a_guest(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", hostname(name))


def test_a_name_that_is_cut_off_does_not_end_in_a_dash_or_dot() -> None:
    assert hostname("a" * 61 + "-.b") == "a" * 61
    assert hostname("a" * 64) == "a" * 63


def test_a_seeds_digest_depends_on_every_byte_and_on_where_it_stands() -> None:
    digests = {
        digest_of({"a": b"bc", "d": b""}),
        digest_of({"a": b"b", "d": b"c"}),
        digest_of({"ab": b"c", "d": b""}),
        digest_of({"a": b"bc"}),
    }
    assert len(digests) == 4
    assert digest_of({"d": b"", "a": b"bc"}) in digests


def test_a_large_user_data_fits_on_the_seed() -> None:
    assert len(iso_of(documents(replace(SEED, user_data=bytes(1 << 20))))) < 2 << 20
