"""A good object of each kind, and ways to spoil it."""

from copy import deepcopy
from typing import Any

from berth_api import kinds
from berth_api.kinds import Kind

CHECKSUM = "sha256:" + "0123456789abcdef" * 4
REMOVED = object()
"""As a value in `spoiled`: take the field away."""

_SPECS: dict[Kind, dict[str, Any]] = {
    kinds.VIRTUAL_MACHINE: {
        "cpu": {"cores": 2},
        "memory": {"size": "1Gi"},
        "disks": [
            {"name": "root", "imageRef": {"name": "debian-12"}, "size": "10Gi"},
            {"name": "data", "volumeName": "data-1"},
            {"name": "scratch", "size": "1Gi"},
        ],
        "networks": [{"name": "default", "networkName": "tenant-a"}, {"name": "second", "networkName": "tenant-b"}],
        "cloudInit": {"userData": "#cloud-config\n"},
    },
    kinds.VIRTUAL_MACHINE_CLASS: {"cpu": {"cores": 1}, "memory": {"size": "512Mi"}},
    kinds.VIRTUAL_MACHINE_IMAGE: {
        "source": {"http": {"url": "http://images.example.com/debian.qcow2"}},
        "checksum": CHECKSUM,
    },
    kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE: {"source": {"file": {"path": "debian/12.qcow2"}}, "checksum": CHECKSUM},
    kinds.VIRTUAL_NETWORK: {
        "cni": {"plugins": [{"type": "bridge", "capabilities": {"ips": True}, "ipam": {"type": "static"}}]},
        "subnets": [{"cidr": "10.1.1.0/24", "gateway": "10.1.1.1"}],
    },
    kinds.STORAGE_POOL: {"path": "/var/lib/berth/pools/fast"},
    kinds.HYPERVISOR: {},
}


def specimen(kind: Kind, name: str = "a", namespace: str = "default") -> dict[str, Any]:
    """A good object."""
    place = {"namespace": namespace} if kind.namespaced else {}
    return {"metadata": {"name": name, **place}, "spec": deepcopy(_SPECS[kind])}


def spoiled(body: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The object with each value put at its dotted path; a number is an index, and one past the end appends."""
    result = deepcopy(body)
    for path, value in changes.items():
        *parents, last = path.split(".")
        target: Any = result
        for parent in parents:
            target = target[int(parent)] if isinstance(target, list) else target.setdefault(parent, {})
        _put(target, last, value)
    return result


def _put(target: Any, last: str, value: Any) -> None:
    if isinstance(target, list) and int(last) == len(target):
        target.append(value)
    elif value is REMOVED:
        del target[int(last) if isinstance(target, list) else last]
    else:
        target[int(last) if isinstance(target, list) else last] = value
