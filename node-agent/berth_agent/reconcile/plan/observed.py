"""What was seen of a VM on this node, in one look.

Everything is read anew before each plan: an agent that was killed between two steps continues from what it sees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from berth_api.virtualmachines import GuestInfo


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
    gateway: str | None = None
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
    interfaces: Mapping[str, ObservedInterface] = field(default_factory=dict)
    disks: Mapping[str, ObservedDisk] = field(default_factory=dict)
    has_seed: bool = False
    reason: str = ""
    """Why the domain is in its state, by libvirt's name."""
    started_at: datetime | None = None
    """When the running guest was started, by the record on its domain; while it is off, when the last one was."""
    claim_id: str = ""
    """The claim for which that guest was started."""
    asked_to_stop_at: datetime | None = None
    """When the guest that is off was last asked to stop, by the record on its domain."""
    asked_to_stop_for: str = ""
    """What it was asked to stop for: an `EndReason`."""
    restarted_at: str = ""
    """`restartedAt` of the spec that the domain was made from."""
    boot_id: str = ""
    """Boot ID of the node at that start."""
    node_boot_id: str = ""
    """Boot ID of the node now."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """A hash per aspect of the hardware that the domain was made with; empty: its record does not tell."""
    vcpus: int = 0
    max_vcpus: int = 0
    boot_memory: int = 0
    """Bytes that the running guest was started with; 0, as with the others: not known."""
    memory: int = 0
    """Bytes that it has now."""
    max_memory: int = 0
    """Bytes that it can be given."""
    live: bool | None = None
    """What the liveness probe says; None: there is none."""
    ready: bool | None = None
    """What the readiness probe says; None: there is none."""
    unhealthy: str = ""
    """What a probe that fails has met."""
    guest: GuestInfo | None = None
    """What the guest's agent says of the guest."""
    to_adopt: bool = False
    """What is here does not say yet that it is this VM's, of this cluster."""

    @property
    def nothing(self) -> bool:
        """No trace of the VM is left on this node."""
        return self.power is Power.ABSENT and not self.interfaces and not self.disks and not self.has_seed
