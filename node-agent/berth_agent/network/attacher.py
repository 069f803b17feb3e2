"""From a request to a tap with packets going through, and back to nothing.

Races faced here: the agent is killed between any two steps (an entry in the cache comes before the first and goes
after the last), a task is cancelled in the middle (clean-up is shielded), two tasks want the same NIC (a lock each),
somebody deletes a link or a namespace (what is not whole is made anew around the tap, which a guest may have open).
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Mapping
from dataclasses import replace
from weakref import WeakValueDictionary

import structlog

from berth_agent.network.announcements import announce, frames
from berth_agent.network.attachments import Attachment, AttachmentRequest, AttachmentState
from berth_agent.network.cache import AttachmentCache, CacheEntry
from berth_agent.network.capabilities import supplied, supplied_again
from berth_agent.network.chains import Chain, Json, require_capabilities
from berth_agent.network.conflicts import refuse_conflicts
from berth_agent.network.datapaths import Datapaths, link_indexes
from berth_agent.network.dhcp import DhcpServers
from berth_agent.network.errors import DatapathFailed, NetworkError
from berth_agent.network.leases import lease_of
from berth_agent.network.names import LinkNames
from berth_agent.network.observations import Observer
from berth_agent.network.plugins import ExecutedPlugins
from berth_agent.network.results import read_result
from berth_agent.network.runtimes import ChainRuntime
from berth_agent.network.sandboxes import Sandboxes
from berth_agent.network.settings import NetworkLimits, NodePaths
from berth_agent.network.shields import uninterrupted

log = structlog.get_logger()


class Attacher:
    """Makes, observes and takes down the attachments of one node; implements `Attachments`.

    Args:
        paths: of the node.
        limits: deadlines and the DHCP server.
    """

    def __init__(self, paths: NodePaths, limits: NetworkLimits | None = None) -> None:
        limits = limits or NetworkLimits()
        state = paths.state_dir / "network"
        self._cache = AttachmentCache(state / "attachments")
        self._sandboxes = Sandboxes(paths.netns_dir, limits.command_deadline)
        self._datapaths = Datapaths(self._sandboxes)
        self._dhcp = DhcpServers(state / "dhcp", self._sandboxes, limits)
        self._plugins = ExecutedPlugins(
            paths.cni_bin_dirs, deadline=limits.plugin_deadline, attempts=limits.plugin_attempts
        )
        self._runtime = ChainRuntime(self._plugins, self._sandboxes)
        self._observer = Observer(self._cache, self._sandboxes, self._dhcp)
        self._deciding = asyncio.Lock()
        self._begun: dict[str, CacheEntry] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def attach(self, request: AttachmentRequest) -> Attachment:
        """Return the intact attachment of the same request untouched, or make it.

        One that only lost its DHCP server gets a new one; one that is broken, half done or of another request is taken
        down, but for its tap, and made anew.

        Raises:
            NetworkError: why it could not be made; what was begun has been taken down, or will be by `detach`.
        """
        async with self._lock(request.owner_uid, request.interface):
            entry = await asyncio.to_thread(self._cache.read, request.owner_uid, request.interface)
            if entry is not None and entry.request == request and self._observer.broken_path(entry) is None:
                return await self._with_dhcp(entry)
            require_capabilities(request.chain, supplied(request))
            self.check_chain(request.chain)
            if entry is None:
                return await self._make(request, supplied(request))
            await asyncio.to_thread(self._refuse_conflicts, request)
            log.info("making attachment anew", vm=request.vm_name, namespace=request.namespace, why=self._why(entry))
            kept = entry if _can_keep_tap(entry, request) else None
            await uninterrupted(self._take_down(entry, keep_tap=kept is not None))
            return await self._make(request, supplied_again(request, entry), kept)

    async def detach(self, owner_uid: str, interface: str) -> None:
        """Take down all there is, with what ADD was given; repeat it after an error, as often as it takes.

        Raises:
            NetworkError: what could not be released; the rest has been, and the record stays for the next attempt.
        """
        async with self._lock(owner_uid, interface):
            entry = await asyncio.to_thread(self._cache.read, owner_uid, interface)
            if entry is not None:
                await uninterrupted(self._take_down(entry, keep_tap=False))

    async def hand_over(self, owner_uid: str, to: str) -> None:
        """Let all attachments of one owner be another's. Links and sandboxes keep their names; a guest may use them.

        The new record is there before the old one goes: what is found under both is handed over again.
        """
        for entry in await asyncio.to_thread(lambda: list(self._cache.entries())):
            interface = entry.request.interface
            if entry.request.owner_uid != owner_uid:
                continue
            async with self._lock(owner_uid, interface), self._lock(to, interface):
                request = replace(entry.request, owner_uid=to)
                handed_over = replace(entry, request=request, link_key=entry.names.key)
                await asyncio.to_thread(self._cache.write, handed_over)
                await asyncio.to_thread(self._cache.remove, entry)

    async def check(self, owner_uid: str, interface: str) -> None:
        """Ask the plugins themselves whether an attachment is as they made it (CHECK).

        Raises:
            NetworkError: it is not.
        """
        async with self._lock(owner_uid, interface):
            entry = await asyncio.to_thread(self._cache.read, owner_uid, interface)
            if entry is None or entry.phase != "complete":
                raise NetworkError(f"interface {interface!r} is not attached")
            await self._runtime.check(entry)

    async def observe(self, owner_uid: str | None = None) -> Mapping[str, tuple[AttachmentState, ...]]:
        """Return what is there, by owner, without starting a process.

        Args:
            owner_uid: look at this one's attachments only.
        """
        return await asyncio.to_thread(self._observer.states, owner_uid)

    async def owners(self) -> frozenset[str]:
        """Return the owners of anything that is left here; nothing is made without an entry in the cache."""
        entries = await asyncio.to_thread(lambda: list(self._cache.entries()))
        return frozenset(entry.request.owner_uid for entry in entries)

    def announce(self, owner_uid: str, attachment: Attachment) -> None:
        """Tell the network that the attachment's addresses are at its MAC now.

        Raises:
            DatapathFailed: the frames could not be sent.
        """
        entry = self._cache.read(owner_uid, attachment.interface)
        link = (entry.names if entry is not None else LinkNames.of(owner_uid, attachment.interface)).veth
        try:
            announce(link, frames(attachment.mac_address, attachment.ip_addresses))
        except OSError as error:
            raise DatapathFailed(f"the addresses of {attachment.interface} could not be announced: {error}") from error

    def check_chain(self, chain: Chain) -> None:
        """Look for every plugin of a chain.

        Raises:
            PluginNotFound: one is not there.
        """
        for kind in chain.plugin_types:
            self._plugins.find(kind)

    def _lock(self, owner_uid: str, interface: str) -> asyncio.Lock:
        return self._locks.setdefault(LinkNames.of(owner_uid, interface).key, asyncio.Lock())

    def _why(self, entry: CacheEntry) -> str:
        return self._observer.broken_path(entry) or "the request has changed"

    def _refuse_conflicts(self, request: AttachmentRequest, begun: tuple[CacheEntry, ...] = ()) -> None:
        refuse_conflicts(request, itertools.chain(begun, self._cache.entries()))

    async def _with_dhcp(self, entry: CacheEntry) -> Attachment:
        assert entry.attachment is not None  # noqa: S101 - complete entries have one
        if self._observer.broken_dhcp(entry) is not None:
            await self._serve_dhcp(entry, entry.attachment)
        return entry.attachment

    async def _serve_dhcp(self, entry: CacheEntry, attachment: Attachment) -> None:
        lease = lease_of(attachment, entry.request.hostname)
        if lease is not None:
            await self._dhcp.start(entry.container_id, entry.sandbox, lease)

    async def _make(
        self, request: AttachmentRequest, capability_args: Json, kept: CacheEntry | None = None
    ) -> Attachment:
        """Make it; around the tap of an earlier incarnation, if that is kept, and under the names of that."""
        container_id = uuid.uuid4().hex
        names = kept.names if kept is not None else LinkNames.of(request.owner_uid, request.interface)
        entry = CacheEntry(
            phase="adding",
            request=request,
            container_id=container_id,
            sandbox=names.sandbox(container_id),
            capability_args=capability_args,
            kept_tap=kept.tap if kept is not None else None,
            link_key=kept.link_key if kept is not None else None,
        )
        await self._begin(entry)
        try:
            return await self._build(entry)
        except BaseException:
            await uninterrupted(self._give_up(entry))
            raise

    async def _begin(self, entry: CacheEntry) -> None:
        """Write the first record, unless another holds the address: one that is being written counts as written."""
        key = LinkNames.of(entry.request.owner_uid, entry.request.interface).key
        async with self._deciding:
            await asyncio.to_thread(self._refuse_conflicts, entry.request, tuple(self._begun.values()))
            self._begun[key] = entry
        try:
            await asyncio.to_thread(self._cache.write, entry)
        finally:
            del self._begun[key]

    async def _build(self, entry: CacheEntry) -> Attachment:
        request = entry.request
        await self._sandboxes.ensure(entry.sandbox)
        result = await self._runtime.add(entry)
        entry = replace(entry, result=result)
        await asyncio.to_thread(self._cache.write, entry)
        interface = await self._datapaths.look(entry.sandbox)
        guest = read_result(request, result, interface)
        attachment = Attachment(
            interface=request.interface,
            container_id=entry.container_id,
            sandbox=entry.sandbox,
            tap_device=entry.names.tap,
            mac_address=guest.mac_address,
            ip_addresses=guest.ip_addresses,
            gateway=guest.gateway,
            dns_servers=guest.dns_servers,
            routes=guest.routes,
            mtu=guest.mtu,
            queues=request.queues,
        )
        host_links = await self._datapaths.build(
            entry.names,
            entry.sandbox,
            mtu=interface.mtu,
            queues=request.queues,
            answer_dhcp=lease_of(attachment, request.hostname) is not None,
        )
        await self._serve_dhcp(entry, attachment)
        complete = replace(entry, phase="complete", attachment=attachment, links=host_links)
        await asyncio.to_thread(self._cache.write, complete)
        return attachment

    async def _give_up(self, entry: CacheEntry) -> None:
        """Clean up after a failure that is on its way up, without hiding it; the record brings anything left back."""
        request = entry.request
        try:
            latest = await asyncio.to_thread(self._cache.read, request.owner_uid, request.interface)
            await self._take_down(latest or entry, keep_tap=entry.kept_tap is not None)
        except NetworkError as error:
            log.warning(
                "a failed attachment could not be taken down yet",
                vm=request.vm_name,
                namespace=request.namespace,
                interface=request.interface,
                reason=error.reason,
                error=str(error),
            )

    async def _take_down(self, entry: CacheEntry, *, keep_tap: bool) -> None:
        """Undo in reverse; with a kept tap its record stays, too.

        DEL comes while the sandbox is there; without one, an empty one stands in for it: some plugins skip their IPAM
        when there is no namespace (plugins issue 1196), and leak the address.
        """
        if entry.phase != "removing":
            entry = replace(entry, phase="removing")
            await asyncio.to_thread(self._cache.write, entry)
        await self._dhcp.stop(entry.container_id)
        await self._datapaths.remove(entry.names, keep_tap=keep_tap)
        await self._sandboxes.ensure(entry.sandbox)
        await self._runtime.delete(entry)
        await self._sandboxes.remove(entry.sandbox)
        if not keep_tap:
            await asyncio.to_thread(self._cache.remove, entry)


def _can_keep_tap(entry: CacheEntry, request: AttachmentRequest) -> bool:
    """Whether the tap that is there is ours, and of the kind that the request needs."""
    return (
        entry.tap is not None
        and link_indexes().get(entry.names.tap) == entry.tap
        and entry.request.queues == request.queues
    )
