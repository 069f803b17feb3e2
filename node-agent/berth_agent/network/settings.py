"""What the node's network needs to know: paths from the agent's settings, and its own limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class NodePaths(Protocol):
    """The part of the agent's settings that this package reads."""

    @property
    def state_dir(self) -> Path:
        """Survives a reboot; the network's records are in `network/` below it."""
        ...

    @property
    def netns_dir(self) -> Path:
        """Where sandboxes are mounted."""
        ...

    @property
    def cni_bin_dirs(self) -> tuple[Path, ...]:
        """Where plugins are, in order of preference."""
        ...


@dataclass(frozen=True, slots=True)
class NetworkLimits:
    """Deadlines, in seconds, and the like.

    Attributes:
        plugin_deadline: for one execution of a plugin; ipam `dhcp` waits for a server up to 20 s by itself.
        plugin_attempts: executions of a plugin that answers "try again later", half a second to some seconds apart.
        command_deadline: for one piece of work on links, and for dnsmasq to start; they take milliseconds unless the
            kernel's RTNL is contended.
        dnsmasq: the executable.
        dnsmasq_user: whom it becomes after binding its socket.
    """

    plugin_deadline: float = 60.0
    plugin_attempts: int = 4
    command_deadline: float = 15.0
    dnsmasq: str = "dnsmasq"
    dnsmasq_user: str = "nobody"
