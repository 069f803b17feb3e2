"""What is handed to a chain as capability arguments. Pure."""

from __future__ import annotations

from berth_agent.network.attachments import AttachmentRequest
from berth_agent.network.cache import CacheEntry
from berth_agent.network.chains import Json


def supplied(request: AttachmentRequest) -> Json:
    """Return what the request insists on, by capability."""
    arguments: Json = {}
    if request.mac_address is not None:
        arguments["mac"] = request.mac_address
    if request.ip_addresses:
        arguments["ips"] = list(request.ip_addresses)
    return arguments


def supplied_again(request: AttachmentRequest, before: CacheEntry) -> Json:
    """Ask for what the chain chose last time, where it can be asked: the guest still has that address and MAC."""
    if before.request.network_name != request.network_name:
        return supplied(request)
    chosen = dict(before.capability_args)
    if before.attachment is not None:
        chosen["mac"] = before.attachment.mac_address
        chosen["ips"] = [str(given["address"]) for given in (before.result or {}).get("ips") or []]
    kept = {key: value for key, value in chosen.items() if value and request.chain.declares(key)}
    return {**kept, **supplied(request)}
