"""Links of a cluster, as batches for ip(8): two bridges on the host, and a pair of veths for each node.

The underlay joins the nodes with the control plane, the VM network joins the nodes' VM bridges, so that guests of
different nodes share a subnet. A node's ends are made inside its namespace and vanish with it; what is left on the host
is known by its prefix.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from berth_dev import commands
from berth_dev.addresses import AddressPlan

NODE_UPLINK = "eth0"
NODE_VM_PORT = "vm0"
NODE_VM_BRIDGE = "vmbr0"
_BRIDGE = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"


def host_links(plan: AddressPlan) -> list[str]:
    """Make the two bridges, with the host's addresses on them.

    A bridge's own MAC is fixed: it would otherwise change with its ports, and guests would have the old one in their
    ARP caches.
    """
    mac = f"02:be:00:{plan.index:02x}:00"
    return [
        f"link add name {plan.underlay_bridge} address {mac}:01 {_BRIDGE}",
        f"link set dev {plan.underlay_bridge} addrgenmode none up",
        f"addr add {plan.control_plane}/{plan.underlay.prefixlen} dev {plan.underlay_bridge}",
        f"addr add {plan.image_server}/32 dev {plan.underlay_bridge}",
        f"link add name {plan.vm_bridge} address {mac}:02 {_BRIDGE}",
        f"link set dev {plan.vm_bridge} addrgenmode none up",
        f"addr add {plan.vm_gateway}/{plan.vm_subnet.prefixlen} dev {plan.vm_bridge}",
    ]


def node_links_on_host(plan: AddressPlan, number: int, holder: int) -> list[str]:
    """Plug a node in: both pairs, with the far ends in the namespace of the process `holder`."""
    return [
        f"link add name {plan.uplink(number)} type veth peer name {NODE_UPLINK} netns {holder}",
        f"link set dev {plan.uplink(number)} master {plan.underlay_bridge} addrgenmode none up",
        f"link add name {plan.vm_port(number)} type veth peer name {NODE_VM_PORT} netns {holder}",
        f"link set dev {plan.vm_port(number)} master {plan.vm_bridge} addrgenmode none up",
    ]


def node_links_inside(plan: AddressPlan, number: int) -> list[str]:
    """Configure the node's ends, inside its namespace: the uplink, and the bridge that CNI attaches guests to."""
    return [
        "link set dev lo up",
        f"link set dev {NODE_UPLINK} addrgenmode none up",
        f"addr add {plan.node(number)}/{plan.underlay.prefixlen} dev {NODE_UPLINK}",
        f"route add default via {plan.control_plane}",
        f"link add name {NODE_VM_BRIDGE} {_BRIDGE}",
        f"link set dev {NODE_VM_BRIDGE} addrgenmode none up",
        f"link set dev {NODE_VM_PORT} master {NODE_VM_BRIDGE} addrgenmode none up",
    ]


def pod_routes_on_host(plan: AddressPlan, nodes: int) -> list[str]:
    """Let the machine reach the Pods of nodes with a kubelet; goes with the underlay's bridge."""
    return [f"route add {plan.pod_subnet(number)} via {plan.node(number)}" for number in range(1, nodes + 1)]


def pod_routes_inside(plan: AddressPlan, number: int, nodes: int) -> list[str]:
    """Let a node reach the Pods of all others."""
    others = (other for other in range(1, nodes + 1) if other != number)
    return [f"route add {plan.pod_subnet(other)} via {plan.node(other)}" for other in others]


def apply(batch: Sequence[str], *, entering: Sequence[str] = ()) -> None:
    """Run a batch, stopping at the first line that fails.

    Args:
        batch: Lines for `ip -batch`.
        entering: A command prefix that enters a namespace.

    Raises:
        CommandError: A line failed; the message quotes it.
    """
    commands.run([*entering, "ip", "-batch", "-"], stdin="\n".join(batch) + "\n")


def disable_ipv6(plan: AddressPlan, names: Sequence[str]) -> None:
    """Keep host links of the cluster out of IPv6: no neighbour discovery from a link that guests can hear."""
    for name in names:
        if not name.startswith(plan.link_prefix):
            raise ValueError(f"{name} is not a link of the cluster {plan.index}")
        switch = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
        if switch.exists():
            switch.write_text("1", encoding="ascii")


def list_links() -> list[str]:
    """Names of the links in this network namespace."""
    return [str(link["ifname"]) for link in json.loads(commands.run(["ip", "-json", "link", "show"]).stdout)]


def routed_networks() -> list[str]:
    """Destinations in this network namespace's main table."""
    return [str(route["dst"]) for route in json.loads(commands.run(["ip", "-json", "-4", "route", "show"]).stdout)]


def remove(plan: AddressPlan) -> int:
    """Delete every link of the cluster on the host, and with them their far ends.

    A veth also goes by itself when its node's namespace does, which may be this very moment: so a link that cannot be
    deleted matters only if it is still there afterwards.

    Returns:
        How many there were.

    Raises:
        CommandError: Some cannot be deleted.
    """
    names = _links_of(plan)
    remove_names(names)
    return len(names)


def remove_names(names: Sequence[str]) -> None:
    """Delete these links on the host, as far as they are there, and still there afterwards.

    Raises:
        CommandError: One cannot be deleted.
    """
    for name in names:
        commands.run(["ip", "link", "delete", "dev", name], check=False)
    for name in set(names) & set(list_links()):
        commands.run(["ip", "link", "delete", "dev", name])


def _links_of(plan: AddressPlan) -> list[str]:
    return [name for name in list_links() if name.startswith(plan.link_prefix)]
