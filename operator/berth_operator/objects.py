"""The part that the operator keeps of objects of other API groups: Nodes and Leases are large, and many."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from berth_api.allocatable import Amounts
from berth_api.quantities import to_bytes, to_millis
from berth_operator.scheduling.nodes import Taint


@dataclass(frozen=True)
class Node:
    """A core/v1 Node, as far as placing VMs goes."""

    name: str
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    cordoned: bool = False
    allocatable: Amounts | None = None
    """CPU and memory that Pods may have in all, by its kubelet; None: no kubelet has said."""

    @classmethod
    def from_api(cls, body: Mapping[str, Any]) -> "Node":
        """Read a Node that the API server sent."""
        metadata, spec = body["metadata"], body.get("spec", {})
        taints = tuple(
            Taint(taint["key"], taint.get("value", ""), taint["effect"]) for taint in spec.get("taints") or ()
        )
        return cls(
            name=metadata["name"],
            uid=metadata.get("uid", ""),
            labels=dict(metadata.get("labels") or {}),
            taints=taints,
            cordoned=bool(spec.get("unschedulable", False)),
            allocatable=_amounts(body.get("status", {}).get("allocatable") or {}),
        )


def _amounts(resources: Mapping[str, Any]) -> Amounts | None:
    """Of a list of resources as in core/v1; None where it does not name both."""
    if "cpu" not in resources or "memory" not in resources:
        return None
    return Amounts(cpu=to_millis(resources["cpu"]), memory=to_bytes(resources["memory"]))


@dataclass(frozen=True)
class Heartbeat:
    """A Lease, as far as a node's life goes."""

    name: str
    renewed_at: datetime | None

    @classmethod
    def from_api(cls, body: Mapping[str, Any]) -> "Heartbeat":
        """Read a Lease that the API server sent."""
        renewed = body.get("spec", {}).get("renewTime")
        return cls(body["metadata"]["name"], datetime.fromisoformat(renewed) if renewed else None)


@dataclass(frozen=True)
class PriorityClass:
    """A scheduling.k8s.io/v1 PriorityClass."""

    name: str
    value: int
    global_default: bool = False

    @classmethod
    def from_api(cls, body: Mapping[str, Any]) -> "PriorityClass":
        """Read a PriorityClass that the API server sent."""
        return cls(body["metadata"]["name"], int(body["value"]), bool(body.get("globalDefault", False)))


def namespace_labels(body: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of a Namespace that the API server sent: all that affinity terms ask of it."""
    return dict(body["metadata"].get("labels") or {})
