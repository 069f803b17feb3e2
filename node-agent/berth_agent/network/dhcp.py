"""dnsmasq processes: one per NIC, in its sandbox, outliving the agent.

They are found again by a pid file, and a pid is only trusted while its command line names that very file, whose name is
the incarnation's: a recycled pid is never killed. The check and the signal go through one pidfd, so nothing can come
between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from berth_agent.network import links
from berth_agent.network.errors import DhcpFailed
from berth_agent.network.leases import SERVER_ADDRESS, Lease, dnsmasq_arguments
from berth_agent.network.names import GUEST_LINK
from berth_agent.network.netlink import Netlink
from berth_agent.network.processes import run_process
from berth_agent.network.sandboxes import Sandboxes, write_sysctls
from berth_agent.network.settings import NetworkLimits

_TERM_GRACE_MS = 2000
_KILL_GRACE_MS = 3000


class DhcpServers:
    """The DHCP servers of this node's sandboxes.

    Args:
        directory: for pid files.
        sandboxes: where they run.
        limits: executable, user, deadline.
    """

    def __init__(self, directory: Path, sandboxes: Sandboxes, limits: NetworkLimits) -> None:
        self._directory = directory
        self._sandboxes = sandboxes
        self._limits = limits

    def runs(self, container_id: str) -> bool:
        """Whether the incarnation's server is alive: two small reads, no process."""
        with self._opened(container_id) as pidfd:
            return pidfd is not None

    async def start(self, container_id: str, sandbox: str, lease: Lease) -> None:
        """Give the sandbox's link the server's address and start the server; it listens when this returns.

        Raises:
            DhcpFailed: dnsmasq is missing, or refused its options.
            DatapathFailed: the link could not be configured.
        """
        pid_file = self._pid_file(container_id)
        pid_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        netns = self._sandboxes.path(sandbox)
        await self._sandboxes.within(sandbox, f"serve DHCP in {sandbox}", lambda: _prepare(lease))
        arguments = dnsmasq_arguments(lease, pid_file, self._limits.dnsmasq_user)
        argv = ["nsenter", f"--net={netns}", "--", self._limits.dnsmasq, *arguments]
        try:
            # The C locale: 16 KiB less for each server, and errors in the one language that logs are in.
            env = {**os.environ, "LC_ALL": "C"}
            done = await run_process(argv, deadline=self._limits.command_deadline, env=env)
        except (TimeoutError, OSError) as error:
            raise DhcpFailed(f"dnsmasq could not be run: {str(error) or 'deadline exceeded'}") from error
        if done.returncode:
            raise DhcpFailed(f"dnsmasq did not start: {done.message}")

    async def stop(self, container_id: str) -> None:
        """Stop the incarnation's server if there is one, and forget its pid.

        Raises:
            DhcpFailed: it survived SIGKILL.
        """
        await asyncio.to_thread(self._stop, container_id)

    def _stop(self, container_id: str) -> None:
        with self._opened(container_id) as pidfd:
            if pidfd is not None and not any(
                _ends(pidfd, number, grace)
                for number, grace in ((signal.SIGTERM, _TERM_GRACE_MS), (signal.SIGKILL, _KILL_GRACE_MS))
            ):
                raise DhcpFailed(f"the DHCP server of {container_id} does not end")
        self._pid_file(container_id).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _opened(self, container_id: str) -> Iterator[int | None]:
        pid_file = self._pid_file(container_id)
        try:
            pid = int(pid_file.read_text(encoding="ascii"))
            pidfd = os.pidfd_open(pid)
        except (OSError, ValueError):
            yield None
            return
        try:
            yield pidfd if _serves(pid, pid_file) else None
        finally:
            os.close(pidfd)

    def _pid_file(self, container_id: str) -> Path:
        return self._directory / f"{container_id}.pid"


def _prepare(lease: Lease) -> None:
    """Give the server an address, and the way to its client, whose ARP answers pass the sandbox by."""
    # The guest's address is eth0's too: without this its own requests would look like spoofed ones.
    write_sysctls({f"ipv4/conf/{GUEST_LINK}/accept_local": "1"})
    with Netlink() as netlink:
        link = links.find(netlink, GUEST_LINK)
        links.add_address(netlink, link, IPv4Address(SERVER_ADDRESS))
        links.add_neighbour(netlink, link, lease.address.ip, lease.mac_address)


def _serves(pid: int, pid_file: Path) -> bool:
    try:
        return f"--pid-file={pid_file}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _ends(pidfd: int, number: signal.Signals, grace_ms: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(grace_ms))
