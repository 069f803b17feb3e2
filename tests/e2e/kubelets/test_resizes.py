"""What a kubelet does when a Pod is to grow and the node is full: what the anchor Pod's priority is chosen by."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.kubelets import rooms

from berth_dev.clusters import Cluster

pytestmark = pytest.mark.integration
MIB = 1024 * 1024
NODE = "node-1"
HIGHEST = "highest"
"""A class above all that users may have by default, and below those that a kubelet ends others for."""


@pytest.fixture
def full(cluster: Cluster) -> Iterator[Cluster]:
    """A node with 64 MiB left beside a Pod of no priority."""
    name = {"metadata": {"name": HIGHEST}, "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
    cluster.kubectl.apply([{**name, "value": 1_000_000_000, "preemptionPolicy": "Never"}])
    cluster.kubectl.apply([rooms.greedy("ordinary", NODE, rooms.free_memory(cluster, NODE) - 64 * MIB)])
    cluster.kubectl("wait", "--for=condition=Ready", "pod/ordinary", "--timeout=60s", timeout=70)
    yield cluster
    cluster.kubectl("delete", "pod", "ordinary", "growing", "--ignore-not-found", "--timeout=30s", timeout=40)
    cluster.kubectl("delete", "priorityclass", HIGHEST)


def _grow(cluster: Cluster, priority: str) -> None:
    """Start a small Pod of this priority on the node, and ask for more memory for it than is left."""
    pod = rooms.greedy("growing", NODE, 16 * MIB)
    cluster.kubectl.apply([{**pod, "spec": {**pod["spec"], "priorityClassName": priority}}])
    cluster.kubectl("wait", "--for=condition=Ready", "pod/growing", "--timeout=60s", timeout=70)
    container = {"name": "pause", "resources": {"requests": {"memory": str(256 * MIB)}}}
    patch = json.dumps({"spec": {"containers": [container]}})
    cluster.kubectl("patch", "pod", "growing", "--subresource=resize", "--patch", patch)


def _status(cluster: Cluster, name: str) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(cluster.kubectl("get", "pod", name, "-o", "json"))["status"]
    return status


def test_a_pod_that_is_not_critical_waits_for_room_and_ends_nobody(full: Cluster) -> None:
    _grow(full, HIGHEST)
    reason = "jsonpath={.status.conditions[?(@.type=='PodResizePending')].reason}=Deferred"
    full.kubectl("wait", f"--for={reason}", "pod/growing", "--timeout=90s", timeout=100)
    assert _status(full, "ordinary")["phase"] == "Running"
    assert _status(full, "growing")["containerStatuses"][0]["allocatedResources"]["memory"] == str(16 * MIB)


def test_a_critical_pod_that_grows_ends_others(full: Cluster) -> None:
    """Which of them is the kubelet's business: it goes by quality of service and size, not by priority."""
    _grow(full, "system-node-critical")
    deadline = time.monotonic() + 90
    while not (ended := _ended_by_kubelet(full)):
        assert time.monotonic() < deadline, "nobody was ended"
        time.sleep(0.5)
    assert "growing" not in ended


def _ended_by_kubelet(cluster: Cluster) -> list[str]:
    """The Pods of the node that its kubelet says it has ended for another."""
    listed = cluster.kubectl("get", "pods", "-A", "--field-selector", f"spec.nodeName={NODE}", "-o", "json")
    ended = ("DisruptionTarget", "TerminationByKubelet")
    return [
        pod["metadata"]["name"]
        for pod in json.loads(listed)["items"]
        if any((each["type"], each.get("reason")) == ended for each in pod["status"].get("conditions", ()))
    ]
