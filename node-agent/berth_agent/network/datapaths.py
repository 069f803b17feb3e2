"""Join a tap in the agent's namespace to `eth0` in the sandbox, frame by frame.

tap ⇄ veth (agent's namespace) ⇄ guest0 (sandbox) ⇄ eth0, by tc redirects both ways at either side. No bridge: nothing
learns and nothing filters; `eth0` keeps its MAC and addresses, so CHECK passes, and its own stack sees no frame, so it
answers none of the guest's ARP, neighbour solicitations or pings.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from berth_agent.network import filters, links
from berth_agent.network.names import GUEST_LINK, LinkNames
from berth_agent.network.netlink import Netlink
from berth_agent.network.plugins import IFNAME
from berth_agent.network.results import Interface
from berth_agent.network.sandboxes import Sandboxes, write_sysctls
from berth_agent.network.taps import create_tap

TX_QUEUE_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class HostLinks:
    """Interface indexes, which tell a link from a later one of the same name."""

    tap: int
    veth: int


def link_indexes() -> Mapping[str, int]:
    """All links of the calling thread's namespace by name: one netlink dump, 40 µs."""
    return {name: index for index, name in socket.if_nameindex()}


class Datapaths:
    """Builds and removes datapaths, each side in a thread that is in its namespace.

    Args:
        sandboxes: where the far ends are.
    """

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes

    async def look(self, sandbox: str) -> Interface:
        """Look at what the chain made of a sandbox's `eth0`.

        Raises:
            DatapathFailed: there is none.
        """
        return await self._sandboxes.within(sandbox, f"look at {IFNAME} in {sandbox}", _look)

    async def build(self, names: LinkNames, sandbox: str, *, mtu: int, queues: int, answer_dhcp: bool) -> HostLinks:
        """Connect a sandbox whose `eth0` is there. A tap of that name is kept: a guest may have it open.

        Raises:
            DatapathFailed: the kernel refused a step.
        """
        path = self._sandboxes.path(sandbox)
        found = await self._sandboxes.outside(f"connect {sandbox}", lambda: _host(names, path, mtu, queues))
        await self._sandboxes.within(sandbox, f"connect {sandbox}", lambda: _sandbox(mtu, answer_dhcp=answer_dhcp))
        return found

    async def remove(self, names: LinkNames, *, keep_tap: bool) -> None:
        """Delete the veth pair, and the tap unless it is to be kept; what is gone already is fine.

        Raises:
            DatapathFailed: the kernel refused a step.
        """
        await self._sandboxes.outside(f"remove {names.veth}", lambda: _remove(names, keep_tap=keep_tap))


def _look() -> Interface:
    with Netlink() as netlink:
        link = links.find(netlink, IFNAME)
        return Interface(mac_address=link.mac_address, mtu=link.mtu, connected=links.connected(netlink, link))


def _host(names: LinkNames, sandbox: Path, mtu: int, queues: int) -> HostLinks:
    """The agent's side: both links up, without an address of any kind, and joined."""
    if names.tap not in link_indexes():
        create_tap(names.tap, queues)
    with Netlink() as netlink:
        netns = os.open(sandbox, os.O_RDONLY | os.O_CLOEXEC)
        try:
            links.make_veth(netlink, names.veth, GUEST_LINK, netns, queues)
        finally:
            os.close(netns)
        write_sysctls({f"ipv6/conf/{link}/disable_ipv6": "1" for link in (names.tap, names.veth)})
        for name in (names.tap, names.veth):
            links.bring_up(netlink, name, mtu=mtu, queue_length=TX_QUEUE_LENGTH)
        tap, veth = links.find(netlink, names.tap), links.find(netlink, names.veth)
        filters.redirect(netlink, veth, tap)
    return HostLinks(tap=tap.index, veth=veth.index)


def _sandbox(mtu: int, *, answer_dhcp: bool) -> None:
    """The sandbox's side."""
    write_sysctls({f"ipv6/conf/{GUEST_LINK}/disable_ipv6": "1"})
    with Netlink() as netlink:
        links.bring_up(netlink, "lo")
        links.bring_up(netlink, GUEST_LINK, mtu=mtu)
        # macvlan drops multicast that its own stack has not joined: the guest's IPv6 neighbour discovery.
        links.receive_all_multicast(netlink, IFNAME)
        near, far = links.find(netlink, GUEST_LINK), links.find(netlink, IFNAME)
        filters.redirect(netlink, near, far, answer_dhcp=answer_dhcp)


def _remove(names: LinkNames, *, keep_tap: bool) -> None:
    here = link_indexes()
    with Netlink() as netlink:
        if keep_tap and names.tap in here:
            filters.clear(netlink, links.find(netlink, names.tap))
        for name in (names.veth, *([] if keep_tap else [names.tap])):
            if name in here:
                links.delete(netlink, name)
