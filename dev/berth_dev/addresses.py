"""Which addresses, links and ports a cluster uses, so that several live side by side.

Everything follows from one small number, the cluster's *index*: a /16 of its own out of 10.0.0.0/8, a loopback
address of its own (the control plane's private ports keep their usual numbers), and a prefix for link names.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from berth_dev.errors import DevError

MAX_CLUSTERS = 64
MAX_NODES = 99
FIRST_SECOND_OCTET = 88
_FIRST_NODE_HOST = 11
_SERVICE_OCTET = 16
_FIRST_POD_OCTET = 128


@dataclass(frozen=True)
class AddressPlan:
    """The addresses and link names of the cluster with this index.

    Attributes:
        index: 0 to `MAX_CLUSTERS` - 1, unique among the clusters of a machine.
    """

    index: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < MAX_CLUSTERS:
            raise ValueError(f"a cluster's index is 0 to {MAX_CLUSTERS - 1}, not {self.index}")

    @property
    def network(self) -> IPv4Network:
        """All that the cluster may use."""
        return IPv4Network(f"10.{FIRST_SECOND_OCTET + self.index}.0.0/16")

    def _subnet(self, third_octet: int) -> IPv4Network:
        return IPv4Network((int(self.network.network_address) + (third_octet << 8), 24))

    @property
    def underlay(self) -> IPv4Network:
        """Control plane, image server and nodes."""
        return self._subnet(0)

    @property
    def control_plane(self) -> IPv4Address:
        """Where the API server listens: the host's address on the underlay."""
        return self.underlay.network_address + 1

    @property
    def image_server(self) -> IPv4Address:
        """An address of its own, so that the image server has port 80 to itself."""
        return self.underlay.network_address + 2

    def node(self, number: int) -> IPv4Address:
        """The underlay address of a node, counted from 1."""
        if not 1 <= number <= MAX_NODES:
            raise ValueError(f"nodes are numbered 1 to {MAX_NODES}, not {number}")
        return self.underlay.network_address + _FIRST_NODE_HOST - 1 + number

    @property
    def vm_subnet(self) -> IPv4Network:
        """The layer-2 network that guests of all nodes share."""
        return self._subnet(1)

    @property
    def vm_gateway(self) -> IPv4Address:
        """The host's address on the VM network: the guests' gateway, and the way to them from the host."""
        return self.vm_subnet.network_address + 1

    @property
    def service_subnet(self) -> IPv4Network:
        """Cluster addresses of Services; only a node with a kube-proxy knows the way to them."""
        return IPv4Network((int(self.network.network_address) + (_SERVICE_OCTET << 8), 20))

    @property
    def pods(self) -> IPv4Network:
        """What the subnets of all nodes' Pods are part of, and no other address of the cluster is."""
        return IPv4Network((int(self.network.network_address) + (_FIRST_POD_OCTET << 8), 17))

    def pod_subnet(self, number: int) -> IPv4Network:
        """Addresses of a node's Pods; the way to them is through the node."""
        self.node(number)
        return self._subnet(_FIRST_POD_OCTET + number)

    @property
    def loopback(self) -> IPv4Address:
        """Where parts listen that neither nodes nor guests may reach: etcd, and health endpoints."""
        return IPv4Address(f"127.{FIRST_SECOND_OCTET}.{self.index}.1")

    @property
    def link_prefix(self) -> str:
        """How the name of every link on the host starts; with its suffix it stays within the kernel's 15 characters."""
        return f"berth{self.index}-"

    @property
    def underlay_bridge(self) -> str:
        """Host bridge that joins the nodes' uplinks."""
        return f"{self.link_prefix}u"

    @property
    def vm_bridge(self) -> str:
        """Host bridge that joins the nodes' VM bridges."""
        return f"{self.link_prefix}v"

    def uplink(self, number: int) -> str:
        """Host end of a node's `eth0`."""
        return f"{self.underlay_bridge}{number}"

    def vm_port(self, number: int) -> str:
        """Host end of the link to a node's VM bridge."""
        return f"{self.vm_bridge}{number}"


def free_index(taken: Iterable[int], networks_in_use: Iterable[IPv4Network], links: Iterable[str]) -> int:
    """Choose the lowest index that collides with no cluster, no network that the machine reaches and no link.

    Args:
        taken: The indexes of the clusters that exist.
        networks_in_use: Every IPv4 network of the machine's links and routes (the default route left out).
        links: Names of the machine's links: those of a cluster whose state was deleted by hand are still there.

    Raises:
        DevError: All indexes are taken.
    """
    used, networks, names = set(taken), list(networks_in_use), list(links)
    for index in range(MAX_CLUSTERS):
        plan = AddressPlan(index)
        if index in used or any(plan.network.overlaps(network) for network in networks):
            continue
        if not any(name.startswith(plan.link_prefix) for name in names):
            return index
    raise DevError(f"all {MAX_CLUSTERS} address ranges from {AddressPlan(0).network} on are taken; take a cluster down")


def parse_networks(routes: Iterable[str]) -> list[IPv4Network]:
    """Read `dst` values of `ip -json route`; a host route has no prefix length, the default route no address."""
    return [ipaddress.IPv4Network(route, strict=False) for route in routes if route != "default"]
