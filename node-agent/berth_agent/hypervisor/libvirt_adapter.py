"""The port, on libvirt: finds, calls, translates, and tells what happens. Every duty is in a file beside this one.

Races it faces: libvirtd going away in the middle of a call (the call raises Unavailable, and the caller looks again
once CONNECTED is told); a domain that vanishes between being found and being touched (as if it had not been found); an
event for a domain that this process has never seen (its owner is asked for before the event is told).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import structlog

from berth_agent.domain.requests import Accelerator
from berth_agent.hypervisor import capabilities, domains, guest_agent, resources, statistics, storage_pools
from berth_agent.hypervisor.connection import LibvirtConnection
from berth_agent.hypervisor.domains import Search
from berth_agent.hypervisor.errors import DeadlineExceeded, DomainExists, HypervisorError
from berth_agent.hypervisor.events import RawEvent, register_all
from berth_agent.hypervisor.latencies import Observe, ignore_call
from berth_agent.hypervisor.ports import ShutdownMode
from berth_agent.hypervisor.settings import LibvirtSettings
from berth_agent.hypervisor.states import (
    ConnectionChange,
    ConnectionEvent,
    DomainEvent,
    DomainEventKind,
    DomainOwner,
    DomainState,
    DomainStatistics,
    GuestInfo,
    HostCapabilities,
    HypervisorEvent,
    PoolInfo,
)
from berth_agent.hypervisor.subscriptions import Subscriptions

log = structlog.get_logger()
T = TypeVar("T")


class LibvirtHypervisor:
    """The hypervisor of this node. Use as an async context manager; it connects by itself, again and again.

    Args:
        accelerator: What `accelerators.choose_accelerator` chose.
        settings: Where libvirtd is, and how patient to be.
        observe: Told of each call, for metrics: see `latencies.Observe`.
    """

    def __init__(
        self, accelerator: Accelerator, settings: LibvirtSettings | None = None, observe: Observe = ignore_call
    ) -> None:
        self._accelerator: Accelerator = accelerator
        settings = settings or LibvirtSettings()
        self._deadlines = settings.deadlines
        self._validate = settings.validate
        self._subscriptions = Subscriptions()
        self._raw: asyncio.Queue[RawEvent | ConnectionEvent] = asyncio.Queue()
        self._owners: dict[str, DomainOwner] = {}
        self._pump: asyncio.Task[None] | None = None
        self._connection = LibvirtConnection(
            settings,
            register=self._register,
            on_connected=lambda: self._raw.put_nowait(ConnectionEvent(ConnectionChange.CONNECTED)),
            on_disconnected=lambda why: self._raw.put_nowait(ConnectionEvent(ConnectionChange.DISCONNECTED, why)),
            observe=observe,
        )

    async def __aenter__(self) -> Self:
        """Begin to connect; calls raise Unavailable until that has succeeded."""
        self._loop = asyncio.get_running_loop()
        self._pump = asyncio.create_task(self._tell(), name="libvirt-events")
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the connection. Guests run on."""
        await self._connection.__aexit__(*error)
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection.connected

    async def wait_connected(self) -> None:
        """Return when there is a connection."""
        await self._connection.wait_connected()

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[HypervisorEvent]]:
        """Everything that happens from entering the context on."""
        with self._subscriptions.subscribe() as events:
            yield events

    async def capabilities(self) -> HostCapabilities:
        """What this node can run."""
        read = partial(capabilities.read_capabilities, accelerator=self._accelerator)
        return await self._connection.call(read, self._deadlines.listing)

    async def domains(self) -> tuple[DomainState, ...]:
        """Every domain of ours."""
        known = frozenset(self._owners)
        found = await self._connection.call(domains.list_domains, self._deadlines.listing)
        for uuid in known - {domain.uuid for domain in found}:
            self._owners.pop(uuid, None)
        self._owners.update({domain.uuid: domain.owner for domain in found})
        return found

    async def domain(self, uid: str) -> DomainState | None:
        """The VM's domain, or None where there is none."""
        get = partial(domains.get_domain, search=self._search(uid))
        found = await self._connection.call(get, self._deadlines.query)
        if found is not None:
            self._owners[found.uuid] = found.owner
        return found

    async def define(self, xml: str) -> DomainState:
        """Define a domain that carries our metadata."""
        owner, uuid, _ = domains.claimed(xml)
        before = self._owners.get(uuid)
        self._owners[uuid] = DomainOwner(
            owner.namespace, owner.name, owner.uid
        )  # its events may come before the answer
        define = partial(domains.define_domain, xml=xml, validate=self._validate)
        try:
            return await self._connection.call(define, self._deadlines.change)
        except DomainExists:
            if before is None:
                self._owners.pop(uuid, None)
            else:
                self._owners[uuid] = before
            raise

    async def hand_over(self, uid: str, owner: DomainOwner, *, cluster: str) -> None:
        """Let the domain be another VM's from now on."""
        act = partial(domains.hand_over, search=self._search(uid), owner=owner, cluster=cluster)
        uuid = await self._connection.call(act, self._deadlines.change, subject=uid)
        if uuid is not None:
            self._owners[uuid] = owner

    async def start(self, uid: str, *, paused: bool = False, boot_id: str = "") -> None:
        """Start the guest."""
        act = partial(domains.start_domain, search=self._search(uid), paused=paused, boot_id=boot_id)
        await self._connection.call(act, self._deadlines.start, subject=uid)

    async def resume(self, uid: str, *, boot_id: str = "") -> None:
        """Let the guest's CPUs run."""
        await self._change(partial(domains.resume_domain, search=self._search(uid), boot_id=boot_id), uid)

    async def suspend(self, uid: str) -> None:
        """Stop the guest's CPUs."""
        await self._change(partial(domains.suspend_domain, search=self._search(uid)), uid)

    async def shutdown(self, uid: str, *, mode: ShutdownMode = "acpi", reason: str = "") -> None:
        """Ask the guest to power off.

        A guest's agent has been asked long before libvirt returns, which waits for the guest to end, a minute at most:
        no other call about the VM is to wait for that.
        """
        act = partial(domains.shut_domain_down, search=self._search(uid), agent=mode == "agent", reason=reason)
        if mode == "acpi":
            await self._change(act, uid)
            return
        try:
            await self._connection.ask_guest(act, self._deadlines.guest, subject=f"the stop of {uid}")
        except DeadlineExceeded:
            log.debug("the guest's agent was asked to power the guest off", uid=uid)

    async def destroy(self, uid: str) -> None:
        """Pull the plug. Not held up by another call that hangs: it is what ends a QEMU that hangs."""
        await self._change(partial(domains.destroy_domain, search=self._search(uid)), f"the end of {uid}")

    async def undefine(self, uid: str) -> None:
        """Forget the domain."""
        await self._change(partial(domains.undefine_domain, search=self._search(uid)), uid)

    async def set_vcpus(self, uid: str, count: int) -> None:
        """Give the running guest this many CPUs."""
        await self._change(partial(resources.set_vcpus, search=self._search(uid), count=count), uid)

    async def set_memory(self, uid: str, size: int) -> None:
        """Ask the running guest to have this much memory."""
        await self._change(partial(resources.set_memory, search=self._search(uid), size=size), uid)

    async def statistics(self) -> tuple[DomainStatistics, ...]:
        """What every active domain of ours has used."""
        before = frozenset(self._owners)
        known = dict(self._owners)
        found = await self._connection.call(partial(statistics.read_statistics, known=known), self._deadlines.query)
        self._owners.update({uuid: owner for uuid, owner in known.items() if uuid not in before})
        return found

    async def ensure_pool(self, name: str, kind: Literal["dir"], path: Path) -> PoolInfo:
        """Make a storage pool active, and look at its room."""
        act = partial(storage_pools.ensure_pool, name=name, kind=kind, path=path)
        return await self._connection.call(act, self._deadlines.change, subject=f"the pool {name}")

    async def guest_info(self, uid: str) -> GuestInfo:
        """What the guest's agent says of the guest."""
        return await self._ask_guest(guest_agent.read_guest_info, uid)

    async def guest_ping(self, uid: str) -> None:
        """Return when the guest's agent has answered."""
        await self._ask_guest(guest_agent.ping_guest, uid)

    async def _change(self, act: Callable[[Any], None], subject: str) -> None:
        await self._connection.call(act, self._deadlines.change, subject=subject)

    async def _ask_guest(self, ask: Callable[[Any, Search, int], T], uid: str) -> T:
        """Libvirt gives up on the agent by itself, a moment before we give up on libvirt."""
        patience = max(1, round(self._deadlines.guest))
        search = self._search(uid)

        def ask_guest(connection: Any) -> T:
            return ask(connection, search, patience)

        ask_guest.__name__ = ask.__name__
        return await self._connection.ask_guest(ask_guest, patience + self._deadlines.query, subject=uid)

    def _search(self, uid: str) -> Search:
        uuid = next((uuid for uuid, owner in self._owners.items() if owner.uid == uid), uid)
        return Search(uid, uuid, frozenset(self._owners) - {uuid})

    def _register(self, connection: Any) -> list[int]:
        return register_all(connection, self._emit)

    def _emit(self, event: RawEvent) -> None:
        """From libvirt's thread into asyncio's loop."""
        try:
            self._loop.call_soon_threadsafe(self._raw.put_nowait, event)
        except RuntimeError:
            log.debug("an event after the end of the loop", domain_event=event)

    async def _tell(self) -> None:
        """Tell events in their order, once their owners are known."""
        while True:
            event = await self._raw.get()
            if isinstance(event, ConnectionEvent):
                await self._tell_connection(event)
            else:
                await self._tell_domain(event)

    async def _tell_connection(self, event: ConnectionEvent) -> None:
        if event.change is ConnectionChange.CONNECTED:
            try:
                await self.domains()
            except HypervisorError as error:
                log.warning("could not look at the domains after connecting", error=str(error))
        self._subscriptions.publish(event)

    async def _tell_domain(self, event: RawEvent) -> None:
        owner = self._owners.get(event.uuid) or await self._ask_owner(event.uuid)
        if owner is None:
            return
        self._subscriptions.publish(DomainEvent(event.kind, owner, event.uuid, event.detail))
        if event.kind is DomainEventKind.UNDEFINED:
            self._owners.pop(event.uuid, None)

    async def _ask_owner(self, uuid: str) -> DomainOwner | None:
        deadline = self._deadlines.query
        try:
            found = await self._connection.call(partial(domains.owner_of_uuid, uuid=uuid), deadline)
        except HypervisorError as error:
            log.warning("could not find out whose domain an event is about", uuid=uuid, error=str(error))
            return None
        if found is None:
            return None
        self._owners[uuid] = owner = DomainOwner(found.namespace, found.name, found.uid)
        return owner
