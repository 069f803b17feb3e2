"""One question to a guest, and what its answer means.

What is the node's fault is told apart from what is the guest's: a libvirtd that hangs must fail no guest's probe, or
all guests of the node would be restarted when it is back.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from berth_agent.guests.connectors import CannotAsk, ConnectFailed, Connector
from berth_agent.guests.links import Links, choose_link
from berth_agent.guests.probing import Answer, Outcome
from berth_agent.hypervisor.errors import GuestAgentUnavailable, HypervisorError
from berth_api.probes import Probe, TCPSocketAction

_SUCCESS = Answer(Outcome.SUCCESS)


class GuestAgents(Protocol):
    """The part of the hypervisor's port that pings guests' agents."""

    async def guest_ping(self, uid: str) -> None:
        """Return when the guest's agent has answered."""
        ...


class Questions:
    """Asks guests what their probes say.

    Args:
        agents: where guests' agents are.
        connector: how guests' ports are reached.
        time: a monotonic clock, in seconds.
        pings: of guests' agents at once. Each takes one of the adapter's calls, for some seconds where an agent hangs.
    """

    def __init__(self, agents: GuestAgents, connector: Connector, time: Callable[[], float], *, pings: int = 4) -> None:
        self._agents = agents
        self._connector = connector
        self._time = time
        self._pings = asyncio.Semaphore(pings)

    async def ask(self, uid: str, probe: Probe, links: Links, order: Sequence[str]) -> Answer:
        """Ask once, for at most the probe's timeout, or as long as the hypervisor takes to give an agent up.

        Args:
            uid: the VM's.
            probe: how to ask.
            links: the guest's NICs.
            order: their names, as the spec has them.
        """
        if probe.tcp_socket is not None:
            return await self._connect(probe.tcp_socket, links, order, float(probe.timeout_seconds))
        return await self._ping(uid, float(probe.timeout_seconds))

    async def _connect(self, action: TCPSocketAction, links: Links, order: Sequence[str], timeout: float) -> Answer:  # noqa: ASYNC109 - the probe's own field
        link = choose_link(links, order, action.interface)
        if link is None:
            which = "no NIC of the VM" if action.interface is None else f"no NIC named {action.interface}"
            return Answer(Outcome.UNKNOWN, f"{which} has an address on this node")
        try:
            await self._connector.connect(link, link.ip_addresses[0], action.port, timeout)
        except ConnectFailed as error:
            return Answer(Outcome.FAILURE, str(error))
        except CannotAsk as error:
            return Answer(Outcome.UNKNOWN, str(error))
        return _SUCCESS

    async def _ping(self, uid: str, timeout: float) -> Answer:  # noqa: ASYNC109 - the probe's own field
        """A call to libvirt is not cut short: it would go on by itself, and hold up the next."""
        async with self._pings:
            begun = self._time()
            try:
                await self._agents.guest_ping(uid)
            except GuestAgentUnavailable:
                return Answer(Outcome.FAILURE, "the guest's agent does not answer")
            except HypervisorError as error:
                return Answer(Outcome.UNKNOWN, f"the hypervisor could not be asked: {error.reason}")
            if self._time() - begun > timeout:
                return Answer(Outcome.FAILURE, f"the guest's agent did not answer within {timeout:g} s")
        return _SUCCESS
