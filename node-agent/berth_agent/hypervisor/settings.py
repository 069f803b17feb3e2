"""How the adapter treats libvirtd: deadlines, keepalive, and how many calls it makes at once."""

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
    concurrency: int = 16
    """Calls under way at once, and so connections: libvirtd has 20 workers for all its clients, these and those below.
    One more than guests that end at once (`reconcile/places.py`)."""
    guest_concurrency: int = 4
    """Questions to guests' agents under way at once, beside the calls: guests that do not answer keep only each other
    waiting."""
    abandoned_limit: int = 12
    """Calls past their deadline and still unanswered, past which no more are made: each may hold one of the workers."""
    validate: bool = False
    """Have libvirt check definitions against its schema: 15 of 19 ms that a definition takes. Tests do; what they have
    seen is valid for whatever a VM asks."""
    backoff_first: float = 0.1
    """Seconds before the first attempt to connect again; doubled with each that fails."""
    backoff_most: float = 10.0
    """Seconds between attempts at most."""
