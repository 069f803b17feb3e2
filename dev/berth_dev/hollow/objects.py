"""The objects that make a hollow node: as a kubelet, and as Berth's agent, would have left them."""

from datetime import UTC, datetime
from re import compile as regex
from typing import Any

from berth_api.hypervisors import HypervisorStatus
from berth_api.objects import GROUP
from berth_dev.hollow.options import HollowOptions, Shape

LABEL = f"{GROUP}/hollow"
"""On every object that a hollow node is made of, with the value `true`: what takes them down looks for it."""
MANAGER = "berth-hollow"
"""Field manager of what is neither an agent's nor an operator's."""
AGENT_VERSION = "hollow"
_MAX_PODS = "250"


def micro_time(moment: datetime) -> str:
    """The format of `metav1.MicroTime`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def whole_seconds(moment: datetime) -> str:
    """The format of `metav1.Time`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_hollow(body: dict[str, Any], prefix: str) -> bool:
    """Whether the object belongs to hollow nodes with this prefix, of this run or of an earlier one."""
    metadata = body["metadata"]
    named = regex(rf"{prefix}-\d{{4,}}").fullmatch(metadata["name"])
    return named is not None and metadata.get("labels", {}).get(LABEL) == "true"


def node(options: HollowOptions, number: int, now: datetime) -> dict[str, Any]:
    """The Node with this index, as its kubelet would register it."""
    name = options.names[number]
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": options.zone(number),
        **options.labels,
        LABEL: "true",
    }
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [taint.to_api() for taint in options.taints]},
        "status": _node_status(options, now),
    }


def _node_status(options: HollowOptions, now: datetime) -> dict[str, Any]:
    """The status by which a Node takes Pods, too."""
    amounts = {"cpu": options.shape.cpu, "memory": options.shape.memory, "pods": _MAX_PODS}
    moment = whole_seconds(now)
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Hollow",
        "message": "a simulated node: nothing on it runs",
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }
    return {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}


def hypervisor(name: str) -> dict[str, Any]:
    """The Hypervisor of a node; its spec is the administrator's."""
    return {"metadata": {"name": name, "labels": {LABEL: "true"}}, "spec": {}}


def hypervisor_status(shape: Shape, public_key: str) -> dict[str, Any]:
    """The status of each Hypervisor: what its agent would have found."""
    status = HypervisorStatus.model_validate(
        {
            "capacity": {"cpu": shape.cpu, "memory": shape.memory},
            "accelerator": shape.accelerator,
            "architecture": "x86_64",
            "hypervisorVersion": "7.2.0",
            "libvirtVersion": "9.0.0",
            "agentVersion": AGENT_VERSION,
            "cpuModels": sorted(shape.cpu_models),
            "cpuFeatures": sorted(shape.cpu_features),
            "machineTypes": sorted(shape.machine_types),
            "firmware": shape.firmware,
            "networks": [{"name": name, "ready": True} for name in sorted(shape.networks)],
            "storagePools": [
                {"name": name, "capacity": shape.pool_size, "ready": True} for name in sorted(shape.pools)
            ],
            "podRequests": {"cpu": shape.pod_cpu, "memory": shape.pod_memory},
            "publicKey": public_key,
        }
    )
    return {"status": status.to_api()}


def lease(options: HollowOptions, name: str, now: datetime, resource_version: str = "") -> dict[str, Any]:
    """The Lease of a node that is alive now, and, where it replaces one, the version of that."""
    metadata: dict[str, Any] = {"name": name, "namespace": options.namespace, "labels": {LABEL: "true"}}
    if resource_version:
        metadata["resourceVersion"] = resource_version
    spec = {
        "holderIdentity": name,
        "leaseDurationSeconds": options.heartbeat_valid,
        "renewTime": micro_time(now),
    }
    return {"metadata": metadata, "spec": spec}
