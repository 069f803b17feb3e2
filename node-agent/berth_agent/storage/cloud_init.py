"""What a guest's cloud-init reads: the NoCloud documents, from typed values only. Pure.

Source: cloud-init's documentation of the NoCloud datasource and of network configuration version 2. Everything but the
user's own user-data is emitted by a YAML library from plain values, so no string of a user ends up as structure.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network
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
        machine_id: what the guest knows itself by, where that is not its VM's UID; empty: it is.
        interfaces: in the order of the spec.
        ssh_authorized_keys: for the image's default user.
        user_data: the user's own bytes, passed on as they are; None for none.
    """

    vm_uid: str
    vm_name: str
    machine_id: str = ""
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
    return f"{seed.machine_id or seed.vm_uid}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


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
        ethernet |= _routing(interface)
        if interface.dns_servers:
            ethernet["nameservers"] = {"addresses": [str(ip_address(server)) for server in interface.dns_servers]}
    if interface.mtu is not None:
        ethernet["mtu"] = interface.mtu
    return ethernet


def _routing(interface: SeedInterface) -> dict[str, Any]:
    """The default and other routes, in the one form per case that every cloud-init since 22.4 renders rightly.

    22.4, which Debian 12 has, refuses ``to: default``, makes ``::/64`` of ``::/0`` (so IPv6 gets ``gateway6``), and
    drops ``on-link`` (so a next hop that is in no subnet gets a route of its own, on the link).
    """
    defaults = tuple(SeedRoute(to=_ANYWHERE[ip_address(via).version], via=via) for via in interface.gateways)
    subnets = [ip_interface(address).network for address in interface.addresses]
    routing: dict[str, Any] = {}
    routes: list[dict[str, Any]] = []
    for route in (*defaults, *interface.routes):
        to, via = ip_interface(route.to).network, ip_address(route.via)
        always_on_link = isinstance(via, IPv6Address) and via.is_link_local
        off_subnet = not always_on_link and not any(via in subnet for subnet in subnets)
        if off_subnet and (hop := _on_the_link(via)) not in routes:
            routes.append(hop)
        if isinstance(to, IPv6Network) and to.prefixlen == 0:
            routing["gateway6"] = str(via)
        else:
            routes.append({"to": str(to), "via": str(via)} | ({"on-link": True} if off_subnet else {}))
    return routing | ({"routes": routes} if routes else {})


def _on_the_link(hop: IPv4Address | IPv6Address) -> dict[str, Any]:
    nowhere = IPv4Address(0) if isinstance(hop, IPv4Address) else IPv6Address(0)
    return {"to": str(ip_network(hop)), "via": str(nowhere), "scope": "link"}


def _yaml(value: dict[str, Any]) -> bytes:
    return yaml.safe_dump(
        value, sort_keys=False, default_flow_style=False, allow_unicode=False, width=4096, encoding="utf-8"
    )
