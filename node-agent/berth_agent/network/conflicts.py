"""Refuse an address or a MAC that another attachment of this node holds on the same network.

The operator gives each out once; this is the second look, where two claims have met nevertheless.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from berth_agent.network.attachments import AttachmentRequest
from berth_agent.network.cache import CacheEntry
from berth_agent.network.errors import AddressConflict


def refuse_conflicts(request: AttachmentRequest, entries: Iterable[CacheEntry]) -> None:
    """Compare a request with what is here.

    Raises:
        AddressConflict: names the VM that has it.
    """
    wanted = {ipaddress.ip_interface(address).ip for address in request.ip_addresses}
    for entry in entries:
        other = entry.request
        if other.network_name != request.network_name or _is_same_nic(other, request):
            continue
        holder = f"VM {other.namespace}/{other.vm_name} on this node"
        taken = wanted & {ipaddress.ip_interface(address).ip for address in _addresses(entry)}
        if taken:
            raise AddressConflict(
                f"address {min(map(str, taken))} on network {request.network_name!r} is that of {holder}"
            )
        if request.mac_address is not None and request.mac_address == _mac(entry):
            raise AddressConflict(f"MAC {request.mac_address} on network {request.network_name!r} is that of {holder}")


def _is_same_nic(one: AttachmentRequest, other: AttachmentRequest) -> bool:
    return (one.owner_uid, one.interface) == (other.owner_uid, other.interface)


def _addresses(entry: CacheEntry) -> tuple[str, ...]:
    return entry.request.ip_addresses or (entry.attachment.ip_addresses if entry.attachment is not None else ())


def _mac(entry: CacheEntry) -> str | None:
    return entry.attachment.mac_address if entry.attachment is not None else entry.request.mac_address
