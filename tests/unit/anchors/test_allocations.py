"""What an agent believes to be allocated to the VMs of its node."""

from typing import Any

import pytest

from berth_agent.node.allocations import Allocation, allocation_of, is_anchor
from berth_agent.node.pods import Pod
from berth_api.anchors import Size

GIB = 1024**3
DENIED = [{"type": "PodResizePending", "status": "True", "reason": "Deferred", "message": "no room"}]


def pod(
    requests: dict[str, str], allocated: dict[str, str] | None = None, *, generation: int = 2, **more: Any
) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": "Running"}
    if allocated is not None:
        status["containerStatuses"] = [{"name": "anchor", "allocatedResources": allocated}]
    return {
        "metadata": {
            "name": "berth-anchor-n",
            "namespace": "berth-system",
            "labels": {"berth.dev/anchor": "true"},
            "generation": generation,
            **more.pop("metadata", {}),
        },
        "spec": {"containers": [{"name": "anchor", "resources": {"requests": requests}}]},
        "status": {**status, **more},
    }


def two(cpu: str = "2") -> dict[str, str]:
    return {"cpu": cpu, "memory": "2Gi"}


@pytest.mark.parametrize(
    ("body", "allocation"),
    [
        (pod(two(), two()), Allocation(Size(2000, 2 * GIB))),
        (pod(two("4"), two("2"), conditions=DENIED), Allocation(Size(2000, 2 * GIB), "Deferred: no room")),
        (pod(two("1"), two("2")), Allocation(Size(1000, 2 * GIB))),
        (pod(two()), Allocation()),
        (pod(two(), generation=1), Allocation(Size(2000, 2 * GIB))),
        (pod(two(), generation=1, phase="Pending"), Allocation()),
        (pod(two(), two(), phase="Failed"), Allocation()),
        (pod(two(), two(), metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), Allocation()),
        (pod(two(), {"cpu": "1e30"}), Allocation()),
        (pod(two(), two(), observedGeneration=2), Allocation(Size(2000, 2 * GIB))),
        (pod(two(), two(), observedGeneration=1, conditions=DENIED), Allocation(denied="Deferred: no room")),
    ],
    ids=[
        "as requested",
        "more is denied",
        "less is requested by now",
        "a kubelet that does not say, after a resize",
        "a kubelet that does not say, of a Pod that was never resized",
        "not admitted yet",
        "turned down",
        "being deleted",
        "nonsense",
        "about the present generation",
        "about a former generation, which may have been smaller in between",
    ],
)
def test_only_what_the_kubelet_says_counts(body: dict[str, Any], allocation: Allocation) -> None:
    assert allocation_of(Pod.from_api(body)) == allocation


def test_without_an_anchor_nothing_is_allocated() -> None:
    assert allocation_of(None) == Allocation()


def test_a_users_pod_that_calls_itself_an_anchor_is_none() -> None:
    ours = Pod.from_api(pod(two()))
    assert is_anchor(ours, "berth-system")
    assert not is_anchor(ours, "elsewhere")
    assert not is_anchor(Pod.from_api(pod(two(), metadata={"labels": {}})), "berth-system")
