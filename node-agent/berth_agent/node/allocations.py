"""What the kubelet has allocated to the anchor Pod, and so to the node's VMs, read from the Pod. Pure.

Source: Kubernetes KEP-1287 (in-place resize): `allocatedResources` of a container's status is what the kubelet has set
aside for it and counts when it admits other Pods; the condition PodResizePending says that it does not set aside more,
now (Deferred) or ever (Infeasible). A kubelet that knows no resizes denies nothing of a Pod that is there: it turns a
new one down as a whole, and the operator notes that on the smaller one that it makes instead (`DENIED`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from berth_agent.node.pods import Pod
from berth_api.anchors import CONTAINER, DENIED, LABEL, Size
from berth_api.quantities import QuantityError, to_bytes, to_millis

_ENDED = ("Succeeded", "Failed")
_PENDING = "PodResizePending"
_UNSAID: Mapping[str, str] = {}
_NONE = Size()


@dataclass(frozen=True)
class Allocation:
    """What VMs may take together, in terms of what Pods request."""

    size: Size = _NONE
    denied: str = ""
    """What the kubelet says where it does not allocate what the Pod requests, or what one for all claims requested."""


def is_anchor(pod: Pod, namespace: str) -> bool:
    """Whether the Pod stands for VMs. In Berth's own namespace, that is: anybody may label a Pod of their own."""
    return pod.metadata.namespace == namespace and pod.metadata.labels.get(LABEL) == "true"


def allocation_of(anchor: Pod | None) -> Allocation:
    """What is allocated to an anchor, at most what it requests by now; nothing where nobody has said so.

    It may have been asked to be smaller, and larger again, since its status was written: then that says nothing about
    what is allocated now. A kubelet that knows no resizes does not say what it allocates: what such a Pod has requested
    from its beginning it has, once it runs.
    """
    if anchor is None or anchor.metadata.deletion_timestamp is not None or anchor.status.phase in _ENDED:
        return Allocation()
    requested = next((_size(one.resources.requests) for one in anchor.spec.containers if one.name == CONTAINER), Size())
    status = next((one for one in anchor.status.container_statuses if one.name == CONTAINER), None)
    given = _UNSAID
    if status is not None:
        given = status.allocated_resources or (status.resources.requests if status.resources is not None else _UNSAID)
    if not given and anchor.status.phase == "Running" and anchor.metadata.generation <= 1:
        return Allocation(requested, anchor.metadata.annotations.get(DENIED, ""))
    denials = (f"{one.reason}: {one.message}" for one in anchor.status.conditions if one.type == _PENDING)
    observed = anchor.status.observed_generation
    current = observed is None or observed >= anchor.metadata.generation
    return Allocation(requested & _size(given) if current else _NONE, next(denials, ""))


def _size(resources: Mapping[str, str]) -> Size:
    try:
        return Size(to_millis(resources.get("cpu", "0")), to_bytes(resources.get("memory", "0")))
    except QuantityError:  # more than any node has: nobody has allocated it
        return _NONE
