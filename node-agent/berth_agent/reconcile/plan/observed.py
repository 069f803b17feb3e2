"""What was seen of a VM on this node, in one look.

Everything is read anew before each plan: an agent that was killed between two steps continues from what it sees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Power(StrEnum):
    """State of the domain, as far as a plan distinguishes it."""

    ABSENT = "Absent"
    OFF = "Off"
    CRASHED = "Crashed"
    """The guest is dead, but its QEMU process may still be there."""
    RUNNING = "Running"
    PAUSED = "Paused"
    STOPPING = "Stopping"

    @property
    def is_active(self) -> bool:
        """A guest is there that runs, or will run on."""
        return self in (Power.RUNNING, Power.PAUSED, Power.STOPPING)


@dataclass(frozen=True)
class ObservedInterface:
    """A NIC's attachment: whole, or broken with a reason."""

    name: str
    intact: bool
    network_name: str = ""
    device: str = ""
    sandbox: str = ""
    mac_address: str = ""
    ip_addresses: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class ObservedDisk:
    """A disk's file."""

    name: str
    path: str
    capacity: int
    """Bytes that the guest sees."""
    digest: str = ""
    """Checksum of the image it was born from."""
    target: str = ""
    """What the hypervisor calls it, vda for example; empty while there is no domain."""


@dataclass(frozen=True)
class Observed:
    """All that is on this node of one VM."""

    power: Power = Power.ABSENT
    domain_uuid: str | None = None
    machine_type: str | None = None
    guest_agent_connected: bool = False
    failed: bool = False
    """The domain is off because it crashed or failed, not because the guest shut down."""
    interfaces: Mapping[str, ObservedInterface] = field(default_factory=dict)
    disks: Mapping[str, ObservedDisk] = field(default_factory=dict)
    has_seed: bool = False

    @property
    def nothing(self) -> bool:
        """No trace of the VM is left on this node."""
        return self.power is Power.ABSENT and not self.interfaces and not self.disks and not self.has_seed
