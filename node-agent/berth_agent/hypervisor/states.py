"""What the hypervisor tells, as plain values: no libvirt object leaves the adapter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, NamedTuple


class DomainOwner(NamedTuple):
    """The VM that a domain was made for."""

    namespace: str
    name: str
    uid: str


class DomainPower(StrEnum):
    """What a domain does."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUTTING_DOWN = "shutting_down"
    SHUT_OFF = "shut_off"
    CRASHED = "crashed"
    """The guest panicked and is kept as it was."""
    PM_SUSPENDED = "pm_suspended"

    @property
    def is_active(self) -> bool:
        """Whether there is a QEMU process."""
        return self is not DomainPower.SHUT_OFF


@dataclass(frozen=True)
class DomainInterface:
    """A NIC of a domain."""

    mac_address: str
    device: str
    """The tap."""


@dataclass(frozen=True)
class DomainDisk:
    """A disk of a domain."""

    target: str
    source: str
    """Path of its file; empty where it has none."""
    serial: str = ""


@dataclass(frozen=True, kw_only=True)
class DomainState:
    """A domain of ours, as libvirt has it."""

    owner: DomainOwner
    uuid: str
    name: str
    power: DomainPower
    power_reason: str
    """Why it is in this state, in CamelCase: Booted, User, IOError, Shutdown, Destroyed, Crashed, Failed, …"""
    claim_id: str
    generation: int
    """Generation of the spec that the domain was made from."""
    machine_type: str
    vcpus: int
    """CPUs that the guest has; while it is off, those that it starts with."""
    max_vcpus: int
    """CPUs that it can be given while it runs."""
    memory: int
    """Bytes that the guest has, or starts with. What it was given is counted even if it has not taken it in yet."""
    boot_memory: int
    """Bytes that the guest was started with, which nothing takes away from it while it runs."""
    max_memory: int
    """Bytes that it can be given while it runs."""
    cluster: str = ""
    """Identity of the cluster that the VM is in; empty: an older agent made it."""
    restarted_at: str = ""
    """`spec.restartedAt` that the domain was made for; empty: none, or not known."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """What the guest was made from: `berth_agent.domain.hardware.parts_of`. Empty where an older agent made it."""
    interfaces: tuple[DomainInterface, ...] = ()
    disks: tuple[DomainDisk, ...] = ()
    console: str = ""
    """Path of the console's pseudo terminal while the guest runs."""
    guest_agent_connected: bool = False
    started_at: datetime | None = None
    """When the running guest was started here; while it is off, when the last one was started since the domain was
    defined. Not known of one that somebody else started."""
    boot_id: str = ""
    """The node's boot ID at that start; empty: not known."""
    asked_to_stop_at: datetime | None = None
    """When the guest that is off was last asked to stop, as noted by `HypervisorPort.shutdown`; None: it was not."""
    asked_to_stop_for: str = ""
    """What it was asked to stop for."""


class DomainEventKind(StrEnum):
    """What happened to a domain."""

    DEFINED = "Defined"
    UNDEFINED = "Undefined"
    STARTED = "Started"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    SHUTTING_DOWN = "ShuttingDown"
    STOPPED = "Stopped"
    CRASHED = "Crashed"
    PM_SUSPENDED = "PMSuspended"
    REBOOTED = "Rebooted"
    IO_ERROR = "IOError"
    WATCHDOG = "Watchdog"
    AGENT_CONNECTED = "GuestAgentConnected"
    AGENT_DISCONNECTED = "GuestAgentDisconnected"
    JOB_COMPLETED = "JobCompleted"


@dataclass(frozen=True)
class DomainEvent:
    """Something happened to a domain of ours. A hint to look again, never the truth by itself."""

    kind: DomainEventKind
    owner: DomainOwner
    uuid: str
    detail: str = ""
    """libvirt's reason in CamelCase; for IOError the disk's target and reason, as vda:enospc."""


class ConnectionChange(StrEnum):
    """What happened to the connection."""

    CONNECTED = "Connected"
    """For the first time, or again. Everything may have happened meanwhile."""
    DISCONNECTED = "Disconnected"
    EVENTS_LOST = "EventsLost"
    """The subscriber was too slow: look at everything."""


@dataclass(frozen=True)
class ConnectionEvent:
    """The connection to libvirtd changed."""

    change: ConnectionChange
    detail: str = ""


HypervisorEvent = DomainEvent | ConnectionEvent


@dataclass(frozen=True, kw_only=True)
class HostCapabilities:
    """What this node can run."""

    accelerator: Literal["kvm", "tcg"]
    architecture: str
    cpus: int
    memory: int
    """Bytes."""
    libvirt_version: str
    hypervisor_version: str
    """QEMU's."""
    machine_types: tuple[str, ...]
    """Canonical names; deprecated ones among them, for there are VMs that were made with them and keep them."""
    default_machine_type: str
    """The canonical name that q35 stands for now."""
    cpu_models: tuple[str, ...]
    """Named models that run here under the accelerator."""
    cpu_features: tuple[str, ...]
    """Features that a guest's CPU can have here under the accelerator, sorted; empty where libvirt cannot tell."""
    host_model: str
    """The named model nearest to what the accelerator offers; empty where libvirt knows none."""
    efi: bool
    secure_boot: bool


@dataclass(frozen=True)
class PoolInfo:
    """A storage pool on this node, in bytes."""

    name: str
    path: Path
    capacity: int
    allocation: int
    available: int


@dataclass(frozen=True)
class GuestInterface:
    """A NIC as the guest sees it."""

    name: str
    mac_address: str
    ip_addresses: tuple[str, ...] = ()
    """With prefix length."""


@dataclass(frozen=True, kw_only=True)
class GuestInfo:
    """What the guest's agent says of the guest: printable, of bounded length, and the guest's word all the same."""

    hostname: str = ""
    os_id: str = ""
    """Such as debian."""
    os_name: str = ""
    """Such as Debian GNU/Linux 12 (bookworm)."""
    os_version: str = ""
    kernel_release: str = ""
    interfaces: tuple[GuestInterface, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BlockStatistics:
    """What a disk has moved since its guest was started."""

    target: str
    """Such as vda."""
    read_bytes: int = 0
    read_requests: int = 0
    write_bytes: int = 0
    write_requests: int = 0


@dataclass(frozen=True, kw_only=True)
class NetStatistics:
    """What a tap has moved since it was made, as the node counts: what it receives, the guest has sent."""

    device: str
    """The tap."""
    rx_bytes: int = 0
    rx_packets: int = 0
    rx_drops: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_drops: int = 0


@dataclass(frozen=True, kw_only=True)
class DomainStatistics:
    """What an active domain of ours has used."""

    owner: DomainOwner
    cpu_seconds: float = 0.0
    """CPU time of the QEMU process since the guest was started."""
    memory_rss: int | None = None
    """Bytes of the node's memory that the QEMU process holds; None where libvirt does not tell."""
    memory_current: int | None = None
    """Bytes that the balloon leaves to the guest."""
    memory_available: int | None = None
    """Bytes that the guest's kernel could use without swapping, where its balloon driver tells."""
    blocks: tuple[BlockStatistics, ...] = ()
    nets: tuple[NetStatistics, ...] = ()
