"""Networks of real plugins, and requests for them."""

from pathlib import Path
from typing import Any

from berth_agent.network.attachments import AttachmentRequest
from berth_agent.network.chains import Chain, parse_chain

GATEWAY = "10.9.0.1"
MAC = "52:54:00:09:00:07"


def host_local(root: Path) -> dict[str, Any]:
    return {
        "type": "host-local",
        "dataDir": str(root / "ipam"),
        "ranges": [[{"subnet": "10.9.0.0/24", "gateway": GATEWAY}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }


def static() -> dict[str, Any]:
    return {"type": "static"}


def bridge(ipam: dict[str, Any], **more: Any) -> dict[str, Any]:
    capabilities = {"mac": True, "ips": True}
    return {
        "type": "bridge",
        "bridge": "br-test",
        "isGateway": True,
        "capabilities": capabilities,
        "ipam": ipam,
        **more,
    }


def chain(*plugins: dict[str, Any], version: str = "1.0.0") -> Chain:
    return parse_chain({"cniVersion": version, "name": "berth-test", "plugins": list(plugins)})


def request(chain: Chain, **more: Any) -> AttachmentRequest:
    values = {
        "owner_uid": "11111111-2222-3333-4444-555555555555",
        "namespace": "default",
        "vm_name": "web",
        "interface": "default",
        "network_name": "test",
        "hostname": "web",
    }
    return AttachmentRequest(chain=chain, **{**values, **more})
