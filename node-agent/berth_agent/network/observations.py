"""Compare the records with the kernel: one link dump and some small reads for a whole node, and never a process.

This runs at every reconcile of every VM, so it looks at identity (interface indexes, the mounted namespace, the DHCP
server's command line) and not at filters or addresses: those live as long as their links, and CHECK looks at them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from berth_agent.network.attachments import AttachmentState
from berth_agent.network.cache import AttachmentCache, CacheEntry
from berth_agent.network.datapaths import link_indexes
from berth_agent.network.dhcp import DhcpServers
from berth_agent.network.leases import lease_of
from berth_agent.network.sandboxes import Sandboxes


class Observer:
    """Tells what is whole and what is broken. Methods block shortly: call those over all entries in a thread."""

    def __init__(self, cache: AttachmentCache, sandboxes: Sandboxes, dhcp: DhcpServers) -> None:
        self._cache = cache
        self._sandboxes = sandboxes
        self._dhcp = dhcp

    def states(self, owner_uid: str | None) -> Mapping[str, tuple[AttachmentState, ...]]:
        """Return what is there, by owner; of one owner only, if named."""
        links = link_indexes()
        states: defaultdict[str, list[AttachmentState]] = defaultdict(list)
        for entry in self._cache.entries():
            if owner_uid in {None, entry.request.owner_uid}:
                states[entry.request.owner_uid].append(self._state(entry, links))
        return {uid: tuple(found) for uid, found in states.items()}

    def broken_path(self, entry: CacheEntry, links: Mapping[str, int] | None = None) -> str | None:
        """Return why no frame can get from the tap to the network, or None."""
        links = link_indexes() if links is None else links
        if entry.phase != "complete" or entry.links is None:
            return "it was never completed" if entry.phase == "adding" else "its removal was not completed"
        if links.get(entry.names.tap) != entry.links.tap:
            return f"tap {entry.names.tap} is gone"
        if links.get(entry.names.veth) != entry.links.veth:
            return f"veth {entry.names.veth} is gone"
        if not self._sandboxes.exists(entry.sandbox):
            return f"network namespace {entry.sandbox} is gone"
        return None

    def broken_dhcp(self, entry: CacheEntry) -> str | None:
        """Return why DHCP is not answered, or None: also where it is not ours to answer."""
        if entry.attachment is None or lease_of(entry.attachment, entry.request.hostname) is None:
            return None
        return None if self._dhcp.runs(entry.container_id) else "its DHCP server is gone"

    def _state(self, entry: CacheEntry, links: Mapping[str, int]) -> AttachmentState:
        request = entry.request
        return AttachmentState(
            owner_uid=request.owner_uid,
            namespace=request.namespace,
            vm_name=request.vm_name,
            interface=request.interface,
            network_name=request.network_name,
            attachment=entry.attachment,
            broken=self.broken_path(entry, links) or self.broken_dhcp(entry),
        )
