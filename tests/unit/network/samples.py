"""A request with everything filled in, for tests to vary."""

from typing import Any

from berth_agent.network.attachments import AttachmentRequest
from berth_agent.network.cache import CacheEntry
from berth_agent.network.chains import Chain, parse_chain

UID = "11111111-2222-3333-4444-555555555555"


def chain(*plugins: dict[str, Any], version: str = "1.0.0", **more: Any) -> Chain:
    default = {"type": "bridge", "capabilities": {"mac": True, "ips": True}, "ipam": {"type": "static"}}
    return parse_chain({"cniVersion": version, "name": "net", "plugins": list(plugins) or [default], **more})


def request(**values: Any) -> AttachmentRequest:
    defaults: dict[str, Any] = {
        "owner_uid": UID,
        "namespace": "default",
        "vm_name": "web",
        "interface": "default",
        "network_name": "net",
        "chain": chain(),
        "hostname": "web",
    }
    return AttachmentRequest(**{**defaults, **values})


def entry(**values: Any) -> CacheEntry:
    defaults: dict[str, Any] = {
        "phase": "adding",
        "request": request(),
        "container_id": "c0ffee00" * 4,
        "sandbox": "berth-x",
        "capability_args": {},
    }
    return CacheEntry(**{**defaults, **values})
