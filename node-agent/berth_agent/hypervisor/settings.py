"""How the adapter treats libvirtd: deadlines, keepalive, and when a connection counts as stuck."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Deadlines:
    """Seconds that calls may take. libvirt itself waits for ever."""

    query: float = 10.0
    """Reading a state: libvirtd answers from memory, in milliseconds."""
    listing: float = 30.0
    """Reading all domains of a node."""
    change: float = 30.0
    """Pausing, stopping, forgetting. Destroying alone waits up to 15 s for a QEMU that does not end by itself."""
    start: float = 60.0
    """Starting QEMU, which opens every file of a backing chain and sets the guest's memory up."""
    guest: float = 5.0
    """Asking the guest's agent, which may be anything."""
    connect: float = 10.0
    """Opening a connection, all of it."""


@dataclass(frozen=True)
class LibvirtSettings:
    """How the adapter treats libvirtd."""

    uri: str = "qemu:///system"
    deadlines: Deadlines = field(default_factory=Deadlines)
    keepalive_interval: int = 5
    """Seconds of silence after which libvirtd is asked whether it lives."""
    keepalive_count: int = 3
    """Unanswered questions after which it counts as dead: 20 s with the interval above."""
    concurrency: int = 5
    """Calls under way at once. libvirtd itself reads no more of one client (`max_client_requests`)."""
    stuck_limit: int = 3
    """Calls past their deadline and still unanswered, at which the connection is replaced: two are left to work."""
    abandoned_limit: int = 12
    """Calls left behind on replaced connections, past which no more connections are opened: libvirtd has 20 workers
    for all its clients, and each such call may hold one."""
    backoff_first: float = 0.1
    """Seconds before the first attempt to connect again; doubled with each that fails."""
    backoff_most: float = 10.0
    """Seconds between attempts at most."""
