"""The VMs of the benchmark, and the claims that bind them, as the operator would write both. Pure.

All are alike but for name and address. Claims are made here so that no scheduler's time is in what is measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any
from uuid import uuid4

from berth_api.overhead import memory_overhead
from berth_api.quantities import from_bytes
from berth_api.virtualmachines import Claim, ClaimedInterface, ClaimedPool

NAMESPACE = "default"
NETWORK = "default"
IMAGE = "tiny"
INTERFACE = "lan"
MEMORY = 96 << 20
DISK = 64 << 20
_FIRST_HOST = 20


@dataclass(frozen=True)
class Guest:
    """One VM.

    Attributes:
        name: Of the VM, or of the bare loop's domain.
        address: With prefix length.
        gateway: On the same network.
        mac_address: Lower case.
    """

    name: str
    address: str
    gateway: str
    mac_address: str

    @property
    def ip(self) -> str:
        """The address alone."""
        return self.address.partition("/")[0]


def guests(prefix: str, count: int, subnet: IPv4Network, *, first: int = 0) -> list[Guest]:
    """So many guests, none of which shares an address with another.

    Args:
        prefix: What their names begin with.
        count: How many.
        subnet: A /24 whose first address is the gateway.
        first: Number of the first one.
    """
    base = subnet.network_address
    return [
        Guest(
            name=f"{prefix}-{number}",
            address=f"{base + _FIRST_HOST + number}/{subnet.prefixlen}",
            gateway=str(base + 1),
            mac_address=f"02:be:a6:00:00:{number:02x}",
        )
        for number in range(first, first + count)
    ]


def virtual_machine(guest: Guest) -> dict[str, Any]:
    """The object that a user creates. Deleting it pulls the plug at once."""
    root = {"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": IMAGE}, "size": from_bytes(DISK)}
    return {
        "metadata": {"name": guest.name, "namespace": NAMESPACE},
        "spec": {
            "cpu": {"cores": 1},
            "memory": {"size": from_bytes(MEMORY)},
            "terminationGracePeriodSeconds": 0,
            "disks": [root],
            "networks": [
                {
                    "name": INTERFACE,
                    "networkName": NETWORK,
                    "ipAddresses": [guest.ip],
                    "macAddress": guest.mac_address,
                }
            ],
        },
    }


def binding(guest: Guest, node: str, *, pool: str, now: datetime) -> dict[str, Any]:
    """The status that binds a VM: what the operator applies in one write."""
    nic = ClaimedInterface(
        name=INTERFACE, network_name=NETWORK, mac_address=guest.mac_address, ip_addresses=(guest.address,)
    )
    claim = Claim(
        id=uuid4().hex,
        epoch=0,
        cpu="1",
        memory=from_bytes(MEMORY + memory_overhead(1, MEMORY, "tcg")),
        storage=from_bytes(DISK),
        pools=(ClaimedPool(name=pool, size=from_bytes(DISK)),),
        interfaces=(nic,),
    )
    condition = {
        "type": "Scheduled",
        "status": "True",
        "reason": "Bound",
        "message": f"bound to node {node}",
        "lastTransitionTime": now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "observedGeneration": 1,
    }
    return {
        "status": {
            "nodeName": node,
            "claim": claim.to_api(),
            "phase": "Scheduled",
            "observedGeneration": 1,
            "conditions": [condition],
        }
    }


def network(subnet: IPv4Network) -> dict[str, Any]:
    """The network that all are on: the plugin `bridge` with addresses from the claim."""
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "VirtualNetwork",
        "metadata": {"name": NETWORK},
        "spec": {
            "cni": {"plugins": [plugin()]},
            "subnets": [{"cidr": str(subnet), "gateway": str(subnet.network_address + 1)}],
        },
    }


def plugin() -> dict[str, Any]:
    """The chain's one plugin, for both sides."""
    return {
        "type": "bridge",
        "bridge": "vmbr0",
        "ipam": {"type": "static"},
        "capabilities": {"ips": True, "mac": True},
    }


def image(url: str, sha256: str) -> dict[str, Any]:
    """The image that all are born from."""
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "ClusterVirtualMachineImage",
        "metadata": {"name": IMAGE},
        "spec": {"source": {"http": {"url": url}}, "checksum": f"sha256:{sha256}"},
    }


def is_running(vm: Mapping[str, Any]) -> bool:
    """Whether the agent says that the guest runs."""
    return bool(vm.get("status", {}).get("phase") == "Running")


def is_released(vm: Mapping[str, Any]) -> bool:
    """Whether the agent says that nothing of the VM is left on the node."""
    status = vm.get("status", {})
    return bool("releasedClaim" in status and status["releasedClaim"] == status.get("claim", {}).get("id"))
