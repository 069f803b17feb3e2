"""A hypervisor in memory: the port's behaviour, recorded calls, injected faults, events on demand.

It reads the XML that the agent builds with the adapter's own parser, so a domain that libvirt would describe in one way
is described here in the same. Faults are given per method, one for each call to come: an error is raised, and `HANG`
never returns, as a libvirtd that stopped answering would without a deadline.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from xml.etree.ElementTree import ParseError

from berth_agent.domain.metadata import MetadataError
from berth_agent.hypervisor.descriptions import LiveFacts, describe, owner_in, parse
from berth_agent.hypervisor.errors import (
    DomainExists,
    DomainNotFound,
    DomainRejected,
    GuestAgentUnavailable,
    OperationInvalid,
    PoolConflict,
    Unavailable,
)
from berth_agent.hypervisor.ports import ShutdownMode
from berth_agent.hypervisor.states import (
    ConnectionChange,
    ConnectionEvent,
    DomainEvent,
    DomainEventKind,
    DomainOwner,
    DomainPower,
    DomainState,
    DomainStatistics,
    GuestInfo,
    GuestInterface,
    HostCapabilities,
    HypervisorEvent,
    PoolInfo,
)
from berth_agent.hypervisor.subscriptions import Subscriptions

HANG: Final = object()
GIB = 1024**3
BLOCK = 2 * 1024**2
"""What memory is plugged in."""
CAPABILITIES = HostCapabilities(
    accelerator="tcg",
    architecture="x86_64",
    cpus=8,
    memory=16 * GIB,
    libvirt_version="9.0.0",
    hypervisor_version="7.2.0",
    machine_types=("pc-q35-7.1", "pc-q35-7.2"),
    default_machine_type="pc-q35-7.2",
    cpu_models=("Nehalem", "qemu64"),
    cpu_features=("avx", "avx2", "sse4.2"),
    host_model="EPYC",
    efi=True,
    secure_boot=True,
)


class Call(NamedTuple):
    """A call of the port, as it came."""

    method: str
    arguments: tuple[Any, ...]


class FakeHypervisor:
    """Everything that a test wants to see or decide is a public attribute.

    Attributes:
        calls: Every call, in order.
        xml: What was defined, by the VM's UID.
        ignores_shutdown: UIDs of guests that do not hear the power button.
        cannot_write: UIDs of guests whose disks are full: they stand again as soon as they go on.
        guests: What the guests' agents answer, by UID; a guest that is not in it has no agent.
        information: What the agents of `guests` say of their guests, by UID; nothing where it is left out.
        used: What active guests have used, by UID; nothing where it is left out.
        host: The node's capabilities.
    """

    def __init__(
        self, host: HostCapabilities = CAPABILITIES, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._now = now
        self.calls: list[Call] = []
        self.xml: dict[str, str] = {}
        self.ignores_shutdown: set[str] = set()
        self.cannot_write: set[str] = set()
        self.guests: dict[str, tuple[GuestInterface, ...]] = {}
        self.information: dict[str, GuestInfo] = {}
        self.used: dict[str, DomainStatistics] = {}
        self.host = host
        self._states: dict[str, DomainState] = {}
        self._defined: dict[str, DomainState] = {}
        self._pools: dict[str, PoolInfo] = {}
        self._faults: defaultdict[str, deque[object]] = defaultdict(deque)
        self._subscriptions = Subscriptions()
        self._connected = True

    def fail(self, method: str, *faults: object) -> None:
        """Let the next calls of a method fail: with an error each, or `HANG`."""
        self._faults[method].extend(faults)

    def disconnect(self) -> None:
        """Lose libvirtd: every call raises Unavailable, guests run on."""
        self._connected = False
        self._subscriptions.publish(ConnectionEvent(ConnectionChange.DISCONNECTED, "libvirtd closed the connection"))

    def reconnect(self) -> None:
        """Get it back."""
        self._connected = True
        self._subscriptions.publish(ConnectionEvent(ConnectionChange.CONNECTED))

    def crash(self, uid: str, reason: str = "Crashed") -> None:
        """Let a guest end by itself, for a reason such as Crashed, Failed, Shutdown, Destroyed or Unknown."""
        self._set(uid, DomainPower.SHUT_OFF, reason)
        self._publish(uid, DomainEventKind.STOPPED, reason)

    def stand(self, uid: str, reason: str) -> None:
        """Pause a guest for a reason of its own, such as IOError."""
        self._set(uid, DomainPower.PAUSED, reason)
        self._publish(uid, DomainEventKind.SUSPENDED, reason)

    def fire(self, uid: str, kind: DomainEventKind, detail: str = "") -> None:
        """Publish an event of a domain that is there."""
        self._publish(uid, kind, detail)

    def methods(self) -> list[str]:
        """The methods that were called, in order."""
        return [call.method for call in self.calls]

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connected

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[HypervisorEvent]]:
        """Everything that is published from now on."""
        with self._subscriptions.subscribe() as events:
            yield events

    async def capabilities(self) -> HostCapabilities:
        """What the test said."""
        await self._called("capabilities")
        return self.host

    async def domains(self) -> tuple[DomainState, ...]:
        """All that was defined."""
        await self._called("domains")
        return tuple(self._states.values())

    async def domain(self, uid: str) -> DomainState | None:
        """The VM's domain."""
        await self._called("domain", uid)
        return self._states.get(uid)

    async def define(self, xml: str) -> DomainState:
        """As libvirt would, as far as identities go."""
        await self._called("define", xml)
        try:
            root = parse(xml)
            owner = owner_in(root)
        except (ParseError, MetadataError) as error:
            raise DomainRejected(str(error)) from error
        if owner is None:
            raise DomainRejected("a domain must carry our metadata")
        state = describe(root, owner, LiveFacts(DomainPower.SHUT_OFF, "Unknown"))
        for other in self._states.values():
            if other.owner.uid != owner.uid and (other.uuid == state.uuid or other.name == state.name):
                raise DomainExists(f"the name or the UUID belongs to {other.name}")
        before = self._states.get(owner.uid)
        self.xml[owner.uid] = xml
        self._defined[owner.uid] = state
        if before is None or not before.power.is_active:
            self._states[owner.uid] = state
        self._publish(owner.uid, DomainEventKind.DEFINED, "Added" if before is None else "Updated")
        return self._states[owner.uid]

    async def hand_over(self, uid: str, owner: DomainOwner, *, cluster: str) -> None:
        """Another owner, and the guest as it was."""
        await self._called("hand_over", uid, owner, cluster)
        for known in (self._states, self._defined):
            if uid in known:
                known[owner.uid] = replace(known.pop(uid), owner=owner, cluster=cluster)
        if uid in self.xml:
            self.xml[owner.uid] = self.xml.pop(uid)

    async def start(self, uid: str, *, paused: bool = False, boot_id: str = "") -> None:
        """Run, or stand paused."""
        await self._called("start", uid, paused, boot_id)
        if self._must(uid).power.is_active:
            return
        self._set(uid, DomainPower.PAUSED if paused else DomainPower.RUNNING, "User" if paused else "Unpaused")
        noted = {"started_at": self._now(), "boot_id": boot_id}
        self._states[uid] = replace(self._states[uid], **noted)
        self._defined[uid] = replace(self._defined[uid], **noted)
        self._publish(uid, DomainEventKind.STARTED, "Booted")

    async def resume(self, uid: str, *, boot_id: str = "") -> None:
        """Run."""
        await self._called("resume", uid, boot_id)
        self._must_be_active(uid)
        if uid in self.cannot_write:
            self.stand(uid, "IOError")
            return
        self._set(uid, DomainPower.RUNNING, "Unpaused")
        if self._states[uid].started_at is None:  # a start that was cut short before it was noted
            noted = {"started_at": self._now(), "boot_id": boot_id}
            self._states[uid] = replace(self._states[uid], **noted)
            self._defined[uid] = replace(self._defined[uid], **noted)
        self._publish(uid, DomainEventKind.RESUMED, "Unpaused")

    async def suspend(self, uid: str) -> None:
        """Stand."""
        await self._called("suspend", uid)
        self._must_be_active(uid)
        self._set(uid, DomainPower.PAUSED, "User")
        self._publish(uid, DomainEventKind.SUSPENDED, "Paused")

    async def shutdown(self, uid: str, *, mode: ShutdownMode = "acpi", reason: str = "") -> None:
        """Power off at once, unless the guest does not hear it."""
        await self._called("shutdown", uid, mode, reason)
        if not self._must(uid).power.is_active:
            return
        if reason:
            asked = {"asked_to_stop_at": self._now(), "asked_to_stop_for": reason}
            self._defined[uid] = replace(self._defined[uid], **asked)
        if uid in self.ignores_shutdown:
            return
        if mode == "agent" and uid not in self.guests:
            raise GuestAgentUnavailable("no agent answers")
        self.crash(uid, "Shutdown")

    async def destroy(self, uid: str) -> None:
        """End it, if it is there."""
        await self._called("destroy", uid)
        if uid in self._states and self._states[uid].power.is_active:
            self.crash(uid, "Destroyed")

    async def undefine(self, uid: str) -> None:
        """Forget it, if it is there."""
        await self._called("undefine", uid)
        if uid not in self._states:
            return
        if self._states[uid].power.is_active:
            raise OperationInvalid(f"the domain {self._states[uid].name} is active: destroy it first")
        self._publish(uid, DomainEventKind.UNDEFINED, "Removed")
        del self._states[uid], self._defined[uid], self.xml[uid]

    async def set_vcpus(self, uid: str, count: int) -> None:
        """Have this many at once, until the guest ends."""
        await self._called("set_vcpus", uid, count)
        self._must_be_active(uid)
        state = self._states[uid]
        if not 1 <= count <= state.max_vcpus:
            raise OperationInvalid(f"the guest can have from 1 to {state.max_vcpus} CPUs, not {count}")
        if count < state.vcpus and self.host.accelerator == "tcg":
            raise OperationInvalid(f"a guest under TCG keeps its {state.vcpus} CPUs while it runs")
        self._states[uid] = replace(state, vcpus=count)

    async def set_memory(self, uid: str, size: int) -> None:
        """Have this much at once, in whole blocks, until the guest ends."""
        await self._called("set_memory", uid, size)
        self._must_be_active(uid)
        state = self._states[uid]
        boot, most = state.boot_memory, state.max_memory
        if boot == most or not boot <= size <= most:
            raise OperationInvalid(f"the guest can have from {boot} to {most} bytes of memory, not {size}")
        self._states[uid] = replace(state, memory=boot + -(-(size - boot) // BLOCK) * BLOCK)

    async def statistics(self) -> tuple[DomainStatistics, ...]:
        """What the test said of the active ones."""
        await self._called("statistics")
        active = [state.owner for state in self._states.values() if state.power.is_active]
        return tuple(self.used.get(owner.uid, DomainStatistics(owner=owner)) for owner in active)

    async def ensure_pool(self, name: str, kind: Literal["dir"], path: Path) -> PoolInfo:
        """A pool of 100 GiB."""
        await self._called("ensure_pool", name, kind, path)
        pool = self._pools.setdefault(name, PoolInfo(name, path, 100 * GIB, 0, 100 * GIB))
        if pool.path != path:
            raise PoolConflict(f"libvirt has a pool {name} at {pool.path}")
        return pool

    async def guest_info(self, uid: str) -> GuestInfo:
        """What the test said."""
        await self._called("guest_info", uid)
        interfaces = self._guest(uid)
        return replace(self.information.get(uid, GuestInfo()), interfaces=interfaces)

    async def guest_ping(self, uid: str) -> None:
        """Answer, if the guest has an agent."""
        await self._called("guest_ping", uid)
        self._guest(uid)

    async def _called(self, method: str, *arguments: Any) -> None:
        self.calls.append(Call(method, arguments))
        await asyncio.sleep(0)
        fault = self._faults[method].popleft() if self._faults[method] else None
        if fault is HANG:
            await asyncio.Event().wait()
        if isinstance(fault, BaseException):
            raise fault
        if not self._connected:
            raise Unavailable("libvirtd is not reachable")

    def _must(self, uid: str) -> DomainState:
        if uid not in self._states:
            raise DomainNotFound(f"the VM {uid} has no domain on this node")
        return self._states[uid]

    def _must_be_active(self, uid: str) -> None:
        if not self._must(uid).power.is_active:
            raise OperationInvalid("domain is not running")

    def _guest(self, uid: str) -> tuple[GuestInterface, ...]:
        self._must(uid)
        if uid not in self.guests:
            raise GuestAgentUnavailable("no agent answers")
        return self.guests[uid]

    def _set(self, uid: str, power: DomainPower, reason: str) -> None:
        """A guest that ends leaves the domain as it was defined last."""
        state = self._must(uid) if power.is_active else self._defined[uid]
        connected = power.is_active and uid in self.guests
        self._states[uid] = replace(state, power=power, power_reason=reason, guest_agent_connected=connected)

    def _publish(self, uid: str, kind: DomainEventKind, detail: str) -> None:
        state = self._states[uid]
        self._subscriptions.publish(DomainEvent(kind, state.owner, state.uuid, detail))
