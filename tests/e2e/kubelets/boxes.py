"""A container image of nothing but busybox, for Pods that only have to answer."""

from pathlib import Path
from typing import Any

from berth_dev.archives import ImageContent, write_archive

REFERENCE = "box:1"
_BUSYBOX = Path("/bin/busybox")
_TOOLS = ("cat", "echo", "httpd", "ls", "mkdir", "mount", "sh", "sleep", "wget")
_SERVE = 'mkdir /www; echo "$GREETING from $NODE" > /www/index.html; echo serving; exec httpd -f -p 8080 -h /www'


def write_box(target: Path) -> Path:
    """Write the image's archive."""
    links = {f"/bin/{tool}": "busybox" for tool in _TOOLS}
    write_archive(target, REFERENCE, ImageContent(("/bin/sh", "-c"), {str(_BUSYBOX): _BUSYBOX.read_bytes()}, links))
    return target


def web(name: str, replicas: int) -> list[dict[str, Any]]:
    """A Deployment of web servers, one on a node, and the Service in front of them."""
    labels = {"app": name}
    container = {
        "name": "web",
        "image": REFERENCE,
        "args": [_SERVE],
        "env": [
            {"name": "GREETING", "value": "hello"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": labels},
    }
    pod = {
        "containers": [container],
        "topologySpreadConstraints": [spread],
        "terminationGracePeriodSeconds": 0,
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    return [deployment, service]


def mounter(name: str, folder: str) -> dict[str, Any]:
    """A privileged DaemonSet in the node's network, whose mounts below a folder are the node's."""
    labels = {"app": name}
    container = {
        "name": "mounter",
        "image": REFERENCE,
        "args": [f"mkdir -p {folder}/{name}; mount -t tmpfs {name} {folder}/{name}; exec sleep 100000"],
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "shared", "mountPath": folder, "mountPropagation": "Bidirectional"}],
    }
    pod = {
        "containers": [container],
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "shared", "hostPath": {"path": folder}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
