"""The port: all that the agent knows of its hypervisor.

A VM's domain is named by the VM's UID alone. The implementation finds it by the metadata that the domain carries, and
touches nothing that does not carry it: a name or a UUID proves nothing.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, Protocol

from berth_agent.hypervisor.states import (
    DomainOwner,
    DomainState,
    DomainStatistics,
    GuestInfo,
    HostCapabilities,
    HypervisorEvent,
    PoolInfo,
)

ShutdownMode = Literal["acpi", "agent"]


class HypervisorPort(Protocol):
    """A hypervisor on this node. Every call has a deadline and can raise Unavailable or DeadlineExceeded."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""

    def events(self) -> AbstractAsyncContextManager[AsyncIterator[HypervisorEvent]]:
        """Everything that happens from entering the context on. A slow reader is told EventsLost, and goes on."""

    async def capabilities(self) -> HostCapabilities:
        """What this node can run."""

    async def domains(self) -> tuple[DomainState, ...]:
        """Every domain of ours: a complete list, or an error. Domains of others are left out."""

    async def domain(self, uid: str) -> DomainState | None:
        """The VM's domain, or None where there is none."""

    async def define(self, xml: str) -> DomainState:
        """Define a domain that carries our metadata; one of the same VM is redefined, and a running guest stays so.

        Raises:
            DomainRejected: libvirt does not take the XML, or it carries no metadata of ours.
            DomainExists: the name or the UUID belongs to another domain.
        """

    async def hand_over(self, uid: str, owner: DomainOwner, *, cluster: str) -> None:
        """Let the domain be another VM's from now on, without touching its guest. Where there is none, nothing is done.

        Killed halfway it is still found under `uid`, and done again.

        Args:
            uid: Of the VM that it has been so far; may be the same.
            owner: The VM that it is.
            cluster: Identity of the cluster that the VM is in.
        """

    async def start(self, uid: str, *, paused: bool = False, boot_id: str = "") -> None:
        """Start the guest; with its CPUs stopped if `paused`. One that is active already is left as it is.

        Its start is noted on the domain before its CPUs run: see `DomainState.started_at`.

        Args:
            uid: The VM's.
            paused: Do not let it run yet.
            boot_id: The node's boot ID, noted with the start: see `DomainState.boot_id`.

        Raises:
            DomainNotFound: the VM has no domain here.
            OperationFailed: QEMU did not come up.
        """

    async def resume(self, uid: str, *, boot_id: str = "") -> None:
        """Let the guest's CPUs run.

        Args:
            uid: The VM's.
            boot_id: The node's boot ID, for a guest whose start was not noted: whoever started it may have been killed.

        Raises:
            DomainNotFound: the VM has no domain here.
            OperationInvalid: the guest is not active.
        """

    async def suspend(self, uid: str) -> None:
        """Stop the guest's CPUs.

        Raises:
            DomainNotFound: the VM has no domain here.
            OperationInvalid: the guest is not active.
        """

    async def shutdown(self, uid: str, *, mode: ShutdownMode = "acpi", reason: str = "") -> None:
        """Ask the guest to power off, which it may ignore. One that is off already is left as it is.

        Args:
            uid: The VM's.
            mode: Whom of the guest to ask.
            reason: What for, noted before it is asked: see `DomainState.asked_to_stop_for`; empty: nothing is noted.

        Raises:
            DomainNotFound: the VM has no domain here.
            GuestAgentUnavailable: mode `agent`, and no agent answers.
        """

    async def destroy(self, uid: str) -> None:
        """Pull the plug. Where there is no domain, or an inactive one, nothing is left to do.

        Raises:
            OperationFailed: QEMU's process does not end.
        """

    async def undefine(self, uid: str) -> None:
        """Forget the domain and what libvirt keeps of it (NVRAM, saved state, snapshots). Repeatable.

        Raises:
            OperationInvalid: the guest is active.
        """

    async def set_vcpus(self, uid: str, count: int) -> None:
        """Give the running guest this many CPUs, of which its kernel may have to take those that are new into use.

        Its next start has what its definition says.

        Raises:
            DomainNotFound: the VM has no domain here.
            OperationInvalid: the guest is not active, `count` is not from 1 to `DomainState.max_vcpus`, or the guest
                cannot give CPUs back: under TCG none does.
            OperationFailed: QEMU does not do it, or the guest has not given CPUs back within seconds; it may still.
        """

    async def set_memory(self, uid: str, size: int) -> None:
        """Ask the running guest to have this much memory, in bytes; it takes in or gives back what it can, later.

        Rounded up to the blocks that memory comes in, 2 MiB.

        Raises:
            DomainNotFound: the VM has no domain here.
            OperationInvalid: the guest is not active, has no memory that can be plugged in, or `size` is not from what
                it booted with to `DomainState.max_memory`.
            OperationFailed: QEMU does not do it.
        """

    async def statistics(self) -> tuple[DomainStatistics, ...]:
        """What every active domain of ours has used, in one look that asks no guest."""

    async def ensure_pool(self, name: str, kind: Literal["dir"], path: Path) -> PoolInfo:
        """Make a storage pool that is active and started with libvirtd, if it is not there yet, and look at its room.

        Raises:
            PoolConflict: a pool of that name has another type or path.
            OperationFailed: the directory cannot be made or read.
        """

    async def guest_ping(self, uid: str) -> None:
        """Return when the guest's agent has answered.

        Raises:
            DomainNotFound: the VM has no domain here.
            GuestAgentUnavailable: no agent answers.
        """

    async def guest_info(self, uid: str) -> GuestInfo:
        """What the guest's agent says of the guest. What it does not know, or says in vain, is left empty.

        Raises:
            DomainNotFound: the VM has no domain here.
            GuestAgentUnavailable: no agent answers.
        """
