"""The Pod that stands for a node's VMs, and by what one is known that was made by other settings.

What a Pod is made from is noted on it as a hash. The Pod itself may say something else: whoever admits Pods may have
put a mirror's name before the image, and an anchor that never looks as it was asked for would be made again for ever.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from json import dumps
from typing import Any

from berth_api.anchors import CONTAINER, DENIED, LABEL, NODE_LABEL, Size, anchor_name, node_label
from berth_api.kinds import HYPERVISOR
from berth_api.objects import GROUP

TEMPLATE = f"{GROUP}/anchor-template"
"""Annotation: what `template_of` gave when the Pod was made."""
ACCOUNT = "berth-anchor"
"""Its ServiceAccount, which may do nothing."""
_PRIORITY = "berth-anchor"
"""Its PriorityClass (charts/berth/files/priority.yaml): for critical Pods, growing ones too, kubelets end others."""
_EVICTABLE = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""Annotation: the autoscaler may ask for its eviction, though it is no ReplicaSet's or the like."""
_USER = 65534
"""UID of nobody: the anchor only waits."""
_HASH_DIGITS = 16


def template_of(spec: Mapping[str, Any]) -> str:
    """A hash of all that anchors have in common, which no resize changes."""
    return sha256(dumps(spec, sort_keys=True).encode()).hexdigest()[:_HASH_DIGITS]


def reference_to(node: str, uid: str) -> dict[str, Any]:
    """An ownerReference to the Hypervisor of a node."""
    return {"apiVersion": HYPERVISOR.api_version, "kind": HYPERVISOR.kind, "name": node, "uid": uid}


def anchor_pod(
    node: str, *, owner: str, namespace: str, spec: Mapping[str, Any], size: Size, denied: str = ""
) -> dict[str, Any]:
    """The Pod that stands for the VMs of a node.

    Its owner is its controller: `kubectl drain` evicts no Pod that has none. What keeps it is its budget, while VMs
    hold the node (`budgets`). Nothing else is to keep a node: the cluster autoscaler knows no controllers but the
    usual ones, and has to be told.

    Args:
        node: Name of the Node, and of the Hypervisor.
        owner: UID of the Hypervisor.
        namespace: Berth's own.
        spec: What all anchors have in common.
        size: What it requests.
        denied: What the kubelet said to one that was as large as all claims; empty: nothing.
    """
    said = {DENIED: denied} if denied else {}
    container = {**spec["containers"][0], "resources": {"requests": size.to_requests()}}
    return {
        "metadata": {
            "name": anchor_name(node),
            "namespace": namespace,
            "labels": {LABEL: "true", NODE_LABEL: node_label(node)},
            "annotations": {TEMPLATE: template_of(spec), _EVICTABLE: "true", **said},
            "ownerReferences": [{**reference_to(node, owner), "controller": True}],
        },
        "spec": {**spec, "nodeName": node, "containers": [container]},
    }


def anchor_spec(image: str, pull_secrets: Sequence[str] = ()) -> Mapping[str, Any]:
    """The spec that all anchors have in common: all of it but the node and the requests.

    It is on the host's network, as it needs none and must come up where the Pod network is not ready. Nobody schedules
    it, so NoSchedule taints are nothing to it; who tolerates them all is left out by some that drain nodes (Karpenter,
    Cluster API), which would take the node from under its VMs.

    Args:
        image: Of its container.
        pull_secrets: Names of the Secrets that the image is pulled with. They are in the Pod rather than its account,
            from which a Pod takes them over only as it is made: so an anchor without the right ones is made anew.
    """
    secrets = {"imagePullSecrets": [{"name": name} for name in pull_secrets]} if pull_secrets else {}
    return {
        **secrets,
        "hostNetwork": True,
        "dnsPolicy": "Default",
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": _PRIORITY,
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": image,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
