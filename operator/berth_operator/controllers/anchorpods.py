"""The Pod that stands for a node's VMs, and by what one is known that was made by other settings.

What a Pod is made from is noted on it as a hash. The Pod itself may say something else: whoever admits Pods may have
put a mirror's name before the image, and an anchor that never looks as it was asked for would be made again for ever.
"""

from hashlib import sha256
from json import dumps
from typing import Any

from berth_api.anchors import CONTAINER, LABEL, Size, anchor_name
from berth_api.kinds import HYPERVISOR
from berth_api.objects import GROUP

TEMPLATE = f"{GROUP}/anchor-template"
"""Annotation: what `template_of` gave when the Pod was made."""
ACCOUNT = "berth-anchor"
"""Its ServiceAccount, which may do nothing: it has the Secrets to pull the image with."""
_PRIORITY = "berth-anchor"
"""Its PriorityClass (charts/berth/files/priority.yaml): for critical Pods, growing ones too, kubelets end others."""
_USER = 65534
"""UID of nobody: the anchor only waits."""
_HASH_DIGITS = 16


def template_of(image: str) -> str:
    """A hash of all that anchors have in common, which no resize changes."""
    return sha256(dumps(_spec(image), sort_keys=True).encode()).hexdigest()[:_HASH_DIGITS]


def anchor_pod(node: str, *, owner: str, namespace: str, image: str, size: Size) -> dict[str, Any]:
    """The Pod that stands for the VMs of a node.

    Its owner is no controller of it: so `kubectl drain` refuses a node while it is there, as it must.

    Args:
        node: Name of the Node, and of the Hypervisor.
        owner: UID of the Hypervisor.
        namespace: Berth's own.
        image: Of its container.
        size: What it requests.
    """
    spec = _spec(image)
    spec["nodeName"] = node
    spec["containers"][0]["resources"] = {"requests": size.to_requests()}
    return {
        "metadata": {
            "name": anchor_name(node),
            "namespace": namespace,
            "labels": {LABEL: "true"},
            "annotations": {TEMPLATE: template_of(image)},
            "ownerReferences": [
                {"apiVersion": HYPERVISOR.api_version, "kind": HYPERVISOR.kind, "name": node, "uid": owner}
            ],
        },
        "spec": spec,
    }


def _spec(image: str) -> dict[str, Any]:
    """What all anchors have in common.

    It is on the host's network, as it needs none and must come up where the Pod network is not ready.
    """
    return {
        "hostNetwork": True,
        "dnsPolicy": "Default",
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": _PRIORITY,
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
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
