"""What a node has left for Pods, as kube-scheduler counts it."""

import json
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from berth_dev.clusters import Cluster
from berth_dev.containers import PAUSE_REFERENCE


def free_memory(cluster: Cluster, node: str) -> int:
    """Bytes that no Pod of the node requests."""
    allocatable = json.loads(cluster.kubectl("get", "node", node, "-o", "json"))["status"]["allocatable"]["memory"]
    listed = cluster.kubectl("get", "pods", "-A", "--field-selector", f"spec.nodeName={node}", "-o", "json")
    return int(parse_quantity(allocatable)) - sum(requested(pod) for pod in json.loads(listed)["items"])


def requested(pod: dict[str, Any]) -> int:
    """Bytes of memory that a Pod requests."""
    requests = [container["resources"].get("requests", {}) for container in pod["spec"]["containers"]]
    return sum(int(parse_quantity(one.get("memory", "0"))) for one in requests)


def claimed(vms: list[dict[str, Any]], node: str) -> int:
    """Bytes of memory that VMs of a node claim."""
    claims = [vm["status"]["claim"] for vm in vms if vm.get("status", {}).get("nodeName") == node]
    return sum(int(parse_quantity(claim["memory"])) for claim in claims)


def greedy(name: str, node: str, size: int) -> dict[str, Any]:
    """A Pod that requests so many bytes of a node, and uses none."""
    container = {"name": "pause", "image": PAUSE_REFERENCE, "resources": {"requests": {"memory": str(size)}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
        },
    }
