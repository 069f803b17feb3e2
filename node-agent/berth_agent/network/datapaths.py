"""Join a tap in the agent's namespace to `eth0` in the sandbox, frame by frame.

tap ⇄ veth (agent's namespace) ⇄ guest0 (sandbox) ⇄ eth0, by tc redirects both ways at either side. No bridge: nothing
learns and nothing filters; `eth0` keeps its MAC and addresses, so CHECK passes, and its own stack sees no frame, so it
answers none of the guest's ARP, neighbour solicitations or pings. Only u32 and mirred are used, which every kernel of a
virtualisation host has: matchall, gact and skbedit are modules of their own that some lack.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from berth_agent.network.errors import DatapathFailed
from berth_agent.network.iproute import LinkCommands
from berth_agent.network.names import GUEST_LINK, LinkNames
from berth_agent.network.plugins import IFNAME
from berth_agent.network.sandboxes import Sandboxes, write_sysctls
from berth_agent.network.taps import create_tap

TX_QUEUE_LENGTH = 1000
_EVERYTHING = "u32 match u8 0 0"
# To the limited broadcast only: unicast to a server of the network's own is the guest's business.
_DHCP_REQUEST = "u32 match ip protocol 17 0xff match ip dport 67 0xffff match ip dst 255.255.255.255/32 classid 1:1"


@dataclass(frozen=True, slots=True)
class HostLinks:
    """Interface indexes, which tell a link from a later one of the same name."""

    tap: int
    veth: int


def link_indexes() -> Mapping[str, int]:
    """All links of the calling thread's namespace by name: one netlink dump, 40 µs."""
    return {name: index for index, name in socket.if_nameindex()}


def veth_lines(names: LinkNames, sandbox: Path, queues: int) -> list[str]:
    """Return the `ip` commands that make the pair, both ends down."""
    count = f"numtxqueues {queues} numrxqueues {queues}"
    return [f"link add {names.veth} {count} type veth peer name {GUEST_LINK} netns {sandbox} {count}"]


def host_lines(names: LinkNames, mtu: int) -> list[str]:
    """Return the `ip` commands that bring the agent's side up, without an address of any kind."""
    return [
        f"link set {link} addrgenmode none mtu {mtu} txqueuelen {TX_QUEUE_LENGTH} up"
        for link in (names.tap, names.veth)
    ]


def sandbox_lines(mtu: int) -> list[str]:
    """Return the `ip` commands that bring the sandbox's side up."""
    return [
        "link set lo up",
        f"link set {GUEST_LINK} addrgenmode none mtu {mtu} up",
        # macvlan drops multicast that its own stack has not joined: the guest's IPv6 neighbour discovery.
        f"link set {IFNAME} allmulticast on",
    ]


def redirect_lines(one: str, other: str, *, answer_dhcp: bool = False) -> list[str]:
    """Return the `tc` commands that send every frame arriving at one link out of the other, and the reverse.

    Args:
        one: link whose broadcast DHCP requests stay, where `answer_dhcp`.
        other: its counterpart.
        answer_dhcp: a server listens on `one`.
    """
    dhcp = [f"filter add dev {one} ingress pref 5 protocol ip {_DHCP_REQUEST}"] if answer_dhcp else []
    return [
        f"qdisc add dev {one} clsact",
        f"qdisc add dev {other} clsact",
        *dhcp,
        f"filter add dev {one} ingress pref 10 protocol all {_EVERYTHING} action mirred egress redirect dev {other}",
        f"filter add dev {other} ingress pref 10 protocol all {_EVERYTHING} action mirred egress redirect dev {one}",
    ]


class Datapaths:
    """Builds and removes datapaths.

    Args:
        commands: runs ip and tc.
        sandboxes: where the far ends are.
    """

    def __init__(self, commands: LinkCommands, sandboxes: Sandboxes) -> None:
        self._commands = commands
        self._sandboxes = sandboxes

    async def build(self, names: LinkNames, sandbox: str, *, mtu: int, queues: int, answer_dhcp: bool) -> HostLinks:
        """Connect a sandbox whose `eth0` is there. A tap of that name is kept: a guest may have it open.

        Raises:
            DatapathFailed: the kernel refused a step.
        """
        if names.tap not in link_indexes():
            await asyncio.to_thread(create_tap, names.tap, queues)
        await self._commands.run("ip", veth_lines(names, self._sandboxes.path(sandbox), queues))
        await asyncio.to_thread(
            write_sysctls, {f"ipv6/conf/{link}/disable_ipv6": "1" for link in (names.tap, names.veth)}
        )
        await asyncio.gather(self._host(names, mtu), self._sandbox(sandbox, mtu, answer_dhcp=answer_dhcp))
        indexes = link_indexes()
        if names.tap not in indexes or names.veth not in indexes:
            raise DatapathFailed(f"link {names.tap} or {names.veth} vanished while it was configured")
        return HostLinks(tap=indexes[names.tap], veth=indexes[names.veth])

    async def remove(self, names: LinkNames, *, keep_tap: bool) -> None:
        """Delete the veth pair, and the tap unless it is to be kept; what is gone already is fine."""
        here = link_indexes()
        doomed = [name for name in (names.veth, *([] if keep_tap else [names.tap])) if name in here]
        if keep_tap and names.tap in here:
            await self._commands.run(
                "tc", [f"qdisc replace dev {names.tap} clsact", f"qdisc del dev {names.tap} clsact"]
            )
        for name in doomed:
            await self._delete(name)

    async def _delete(self, name: str) -> None:
        try:
            await self._commands.run("ip", [f"link delete dev {name}"])
        except DatapathFailed:
            # A dying namespace takes the veth with it in its own time.
            if name in link_indexes():
                raise

    async def _host(self, names: LinkNames, mtu: int) -> None:
        await self._commands.run("ip", host_lines(names, mtu))
        await self._commands.run("tc", redirect_lines(names.veth, names.tap))

    async def _sandbox(self, sandbox: str, mtu: int, *, answer_dhcp: bool) -> None:
        path = self._sandboxes.path(sandbox)
        await self._sandboxes.write_sysctls(sandbox, {f"ipv6/conf/{GUEST_LINK}/disable_ipv6": "1"})
        await self._commands.run("ip", sandbox_lines(mtu), path)
        await self._commands.run("tc", redirect_lines(GUEST_LINK, IFNAME, answer_dhcp=answer_dhcp), path)
