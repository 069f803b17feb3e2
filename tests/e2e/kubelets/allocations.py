"""What Pods and VMs of a node have of it, read from the objects as they were at one moment."""

from collections.abc import Iterable, Mapping
from typing import Any

from berth_api.anchors import LABEL, Size, anchored, total
from berth_api.hypervisors import Overcommit
from berth_api.quantities import to_bytes, to_millis

Thing = Mapping[str, Any]
_ENDED = ("Succeeded", "Failed")


def size_of(amounts: Mapping[str, str]) -> Size:
    """Quantities of CPU and memory as a size."""
    return Size(to_millis(amounts.get("cpu", "0")), to_bytes(amounts.get("memory", "0")))


def is_admitted(pod: Thing) -> bool:
    """Whether the kubelet has taken the Pod in, and not done with it."""
    return "startTime" in pod.get("status", {}) and pod["status"].get("phase") not in _ENDED


def allocated(pods: Iterable[Thing], node: str) -> Size:
    """What a kubelet has allocated to the Pods that it has taken in."""
    return total(
        allocation
        for pod in pods
        if pod["spec"].get("nodeName") == node and is_admitted(pod)
        for allocation in _allocations(pod)
    )


def anchor_allocation(pods: Iterable[Thing], node: str) -> Size:
    """What it has allocated to the node's anchor."""
    return allocated((pod for pod in pods if pod["metadata"].get("labels", {}).get(LABEL) == "true"), node)


def held(vms: Iterable[Thing], node: str) -> Size:
    """What a node's VMs hold, in terms of what Pods request: those that the agent has admitted and not taken down."""
    claims = total(size_of(vm["status"]["claim"]) for vm in vms if _holds(vm.get("status", {}), node))
    return anchored(claims, Overcommit()) if claims != Size() else claims


def _holds(status: Thing, node: str) -> bool:
    claim = status.get("claim", {}).get("id")
    answers = status.get("admittedClaim"), status.get("releasedClaim")
    return claim is not None and status.get("nodeName") == node and answers[0] == claim != answers[1]


def _allocations(pod: Thing) -> Iterable[Size]:
    statuses = {each["name"]: each for each in pod["status"].get("containerStatuses", ())}
    for container in pod["spec"]["containers"]:
        told = statuses.get(container["name"], {}).get("allocatedResources")
        yield size_of(container["resources"].get("requests", {}) if told is None else told)
