"""Labels on Nodes that tell Kubernetes, and users' selectors, which nodes run VMs and what they have.

They say capacity, not what is left, so they change only when a node does. Applied under our own field manager: what we
leave out of the next apply goes away, and nobody else's labels are touched.
"""

from typing import Any

from berth_api import kinds
from berth_api.client import Api, NotFound
from berth_api.fields import OPERATOR
from berth_api.hypervisors import Hypervisor
from berth_api.objects import GROUP
from berth_api.quantities import to_bytes, to_millis
from berth_operator.cluster import Cluster
from berth_operator.leases import Leadership
from berth_operator.objects import Node

_MIB, _GIB = 1024**2, 1024**3
_HYPERVISOR, _ACCELERATOR = f"{GROUP}/hypervisor", f"{GROUP}/accelerator"
_PREFIXES = (f"capacity.{GROUP}/", f"cpu-model.{GROUP}/")
_MAX_NAME = 63
_MAX_MODELS = 512
"""Models that become labels: libvirt knows some 150 for x86, and an agent that made up thousands would make a Node that
everybody who watches Nodes has to take in."""


def labels_of(hypervisor: Hypervisor) -> dict[str, str]:
    """The labels that a Hypervisor calls for: CPU in whole cores, memory in MiB, storage in GiB, rounded down."""
    status = hypervisor.status
    labels = {_HYPERVISOR: "true"}
    if status.accelerator:
        labels[_ACCELERATOR] = status.accelerator
    if status.capacity is not None:
        labels[f"capacity.{GROUP}/cpu"] = str(to_millis(status.capacity.cpu) // 1000)
        labels[f"capacity.{GROUP}/memory-mib"] = str(to_bytes(status.capacity.memory) // _MIB)
    if status.storage_pools:
        storage = sum(to_bytes(pool.capacity) for pool in status.storage_pools if pool.ready)
        labels[f"capacity.{GROUP}/storage-gib"] = str(storage // _GIB)
    models = [model for model in status.cpu_models if _is_label_name(model)][:_MAX_MODELS]
    return labels | {f"cpu-model.{GROUP}/{model}": "true" for model in models}


def _is_label_name(text: str) -> bool:
    """Whether Kubernetes takes this as the name part of a label's key."""
    body = text.replace("-", "").replace("_", "").replace(".", "")
    ends = text[:1].isalnum() and text[-1:].isalnum()
    return 0 < len(text) <= _MAX_NAME and text.isascii() and body.isalnum() and ends


def own_labels(node: Node) -> dict[str, str]:
    """The labels on a Node that only we write. Others below our domain may be anybody's."""
    own = (_HYPERVISOR, _ACCELERATOR)
    return {key: value for key, value in node.labels.items() if key in own or key.startswith(_PREFIXES)}


class NodeLabels:
    """Keeps the labels of one Node at a time."""

    def __init__(self, api: Api, cluster: Cluster) -> None:
        self._api, self._cluster = api, cluster
        self._applied: dict[str, tuple[str, dict[str, str]]] = {}

    async def reconcile(self, name: str, leadership: Leadership) -> None:
        """Apply the labels, if the Node's differ.

        Raises:
            ApiError: they could not be written.
            NotLeadingError: the leadership ended.
        """
        node, hypervisor = self._cluster.nodes.get(name), self._cluster.hypervisors.get(name)
        if node is None:
            self._applied.pop(name, None)
            return
        wanted, present = labels_of(hypervisor) if hypervisor else {}, own_labels(node)
        if all(node.labels.get(key) == value for key, value in wanted.items()) and (
            present.keys() <= wanted.keys() or self._applied.get(name) == (node.uid, wanted)
        ):
            return
        leadership.check()
        body: dict[str, Any] = {"metadata": {"uid": node.uid, "labels": wanted}}
        try:
            written = await self._api.apply(kinds.NODE, name, "", body, field_manager=OPERATOR)
        except NotFound:
            return
        self._applied[name] = (node.uid, wanted)
        self._cluster.nodes.upsert(written)
