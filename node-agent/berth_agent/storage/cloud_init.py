"""What a guest's cloud-init reads: the NoCloud documents, from typed values only. Pure.

Source: cloud-init's documentation of the NoCloud datasource and of network configuration version 2. Everything but the
user's own user-data is emitted by a YAML library from plain values, so no string of a user ends up as structure.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from ipaddress import ip_address, ip_interface
from typing import Any

import yaml

META_DATA = "meta-data"
USER_DATA = "user-data"
NETWORK_CONFIG = "network-config"

NO_USER_DATA = b"#cloud-config\n"
_HOSTNAME_LENGTH = 63
_ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, kw_only=True)
class SeedRoute:
    """A route of the guest.

    Attributes:
        to: a CIDR.
        via: the next hop's address.
    """

    to: str
    via: str


@dataclass(frozen=True, kw_only=True)
class SeedInterface:
    """A NIC as the guest is to configure it.

    Attributes:
        name: the interface's name in the VM's spec; only a label to the guest.
        mac_address: what the guest knows it by.
        addresses: with their prefix lengths, ``10.0.0.5/24``; none: DHCP.
        gateways: at most one per family; one that is in no subnet of `addresses` is reached on the link.
        routes: beside the default ones.
        dns_servers: addresses.
        mtu: in bytes; None: the guest's default.
    """

    name: str
    mac_address: str
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    routes: tuple[SeedRoute, ...] = ()
    dns_servers: tuple[str, ...] = ()
    mtu: int | None = None


@dataclass(frozen=True, kw_only=True)
class Seed:
    """All that a guest is told.

    Attributes:
        vm_uid: the VM's UID.
        vm_name: the VM's name, which becomes the hostname.
        interfaces: in the order of the spec.
        ssh_authorized_keys: for the image's default user.
        user_data: the user's own bytes, passed on as they are; None for none.
    """

    vm_uid: str
    vm_name: str
    interfaces: tuple[SeedInterface, ...] = ()
    ssh_authorized_keys: tuple[str, ...] = ()
    user_data: bytes | None = None


def documents(seed: Seed) -> dict[str, bytes]:
    """The files of the seed by name.

    Raises:
        ValueError: an address, a gateway or a route is none.
    """
    meta: dict[str, Any] = {"instance-id": instance_id(seed), "local-hostname": hostname(seed.vm_name)}
    if keys := _keys(seed.ssh_authorized_keys):
        meta["public-keys"] = keys
    ethernets = {interface.name: _ethernet(interface) for interface in seed.interfaces}
    return {
        META_DATA: _yaml(meta),
        USER_DATA: NO_USER_DATA if seed.user_data is None else seed.user_data,
        NETWORK_CONFIG: _yaml({"version": 2, "ethernets": ethernets}),
    }


def instance_id(seed: Seed) -> str:
    """The VM's UID and a hash of its network, because cloud-init configures the network of a new instance only.

    The hash is over the values that are set, not over the YAML: neither a new optional field of ours nor another
    formatting makes an old guest a new instance, which would run its user-data and make its SSH host keys again.
    """
    network = [_set_values(interface) for interface in seed.interfaces]
    canonical = json.dumps(network, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{seed.vm_uid}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


def hostname(vm_name: str) -> str:
    """A VM's name, which may be longer than a hostname's 63 characters, as a hostname."""
    return vm_name[:_HOSTNAME_LENGTH].rstrip("-.")


def _set_values(interface: SeedInterface) -> dict[str, Any]:
    return {name: value for name, value in asdict(interface).items() if value not in (None, ())}


def _keys(keys: tuple[str, ...]) -> list[str]:
    """One key per line, however they were pasted, each once."""
    lines = (line.strip() for key in keys for line in key.splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def _ethernet(interface: SeedInterface) -> dict[str, Any]:
    ethernet: dict[str, Any] = {"match": {"macaddress": interface.mac_address.lower()}}
    if not interface.addresses:
        ethernet["dhcp4"] = True
    else:
        ethernet["dhcp4"] = False
        ethernet["addresses"] = [ip_interface(address).with_prefixlen for address in interface.addresses]
        if routes := _routes(interface):
            ethernet["routes"] = routes
        if interface.dns_servers:
            ethernet["nameservers"] = {"addresses": [str(ip_address(server)) for server in interface.dns_servers]}
    if interface.mtu is not None:
        ethernet["mtu"] = interface.mtu
    return ethernet


def _routes(interface: SeedInterface) -> list[dict[str, Any]]:
    defaults = tuple(
        SeedRoute(to=_ANYWHERE[ip_address(gateway).version], via=gateway) for gateway in interface.gateways
    )
    return [_route(route, interface) for route in (*defaults, *interface.routes)]


def _route(route: SeedRoute, interface: SeedInterface) -> dict[str, Any]:
    via = ip_address(route.via)
    subnets = [ip_interface(address).network for address in interface.addresses]
    described: dict[str, Any] = {"to": ip_interface(route.to).network.with_prefixlen, "via": str(via)}
    always_on_link = via.version == 6 and via.is_link_local  # noqa: PLR2004 - the IP version's number is its name
    if not always_on_link and not any(via in subnet for subnet in subnets):
        described["on-link"] = True
    return described


def _yaml(value: dict[str, Any]) -> bytes:
    return yaml.safe_dump(
        value, sort_keys=False, default_flow_style=False, allow_unicode=False, width=4096, encoding="utf-8"
    )
