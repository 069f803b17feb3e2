"""What a node has left for Pods, as kube-scheduler counts it."""

import json
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from berth_dev.clusters import Cluster
from berth_dev.containers import PAUSE_REFERENCE


def free_memory(cluster: Cluster, node: str) -> int:
    """Bytes that no Pod of the node requests."""
    return int(_free(cluster, node, "memory"))


def free_cpu(cluster: Cluster, node: str) -> int:
    """Millicores that no Pod of the node requests."""
    return int(_free(cluster, node, "cpu") * 1000)


def _free(cluster: Cluster, node: str, resource: str) -> Any:
    allocatable = json.loads(cluster.kubectl("get", "node", node, "-o", "json"))["status"]["allocatable"][resource]
    listed = cluster.kubectl("get", "pods", "-A", "--field-selector", f"spec.nodeName={node}", "-o", "json")
    running = [pod for pod in json.loads(listed)["items"] if pod["status"]["phase"] not in {"Succeeded", "Failed"}]
    return parse_quantity(allocatable) - sum(_requested(pod, resource) for pod in running)


def requested(pod: dict[str, Any]) -> int:
    """Bytes of memory that a Pod requests."""
    return int(_requested(pod, "memory"))


def _requested(pod: dict[str, Any], resource: str) -> Any:
    requests = [container["resources"].get("requests", {}) for container in pod["spec"]["containers"]]
    return sum(parse_quantity(one.get(resource, "0")) for one in requests)


def claimed(vms: list[dict[str, Any]], node: str) -> int:
    """Bytes of memory that VMs of a node claim."""
    claims = [vm["status"]["claim"] for vm in vms if vm.get("status", {}).get("nodeName") == node]
    return sum(int(parse_quantity(claim["memory"])) for claim in claims)


def greedy(name: str, node: str, size: int, cpu: int = 0) -> dict[str, Any]:
    """A Pod that requests so many bytes and millicores of a node, and uses none."""
    requests = {"memory": str(size), "cpu": f"{cpu}m"}
    container = {"name": "pause", "image": PAUSE_REFERENCE, "resources": {"requests": requests}}
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
