"""All that the operator knows of the cluster, kind by kind, and how it is listed anew.

A new leader lists everything before its first decision, and an audit does so every few minutes.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from berth_api import kinds
from berth_api.anchors import LABEL as ANCHOR_LABEL
from berth_api.client import Api, ObjectList
from berth_api.hypervisors import Hypervisor
from berth_api.quantities import to_bytes, to_millis
from berth_api.storagepools import StoragePool
from berth_api.virtualmachineclasses import VirtualMachineClass
from berth_api.virtualmachineimages import ClusterVirtualMachineImage, VirtualMachineImage
from berth_api.virtualmachines import ImageReference, VirtualMachine
from berth_api.virtualnetworks import VirtualNetwork
from berth_operator.controllers.anchorplans import Anchor
from berth_operator.controllers.budgets import Budget
from berth_operator.objects import Heartbeat, Node, PriorityClass, namespace_labels
from berth_operator.scheduling.holdings import held_by
from berth_operator.scheduling.nodes import allocatable_of
from berth_operator.store import Collection


def read_machine(body: Mapping[str, Any]) -> VirtualMachine:
    """A VM whose claim can be counted."""
    vm = VirtualMachine.from_api(body)
    held = held_by(vm)
    if held is not None:
        tuple(held.addresses)
    return vm


def read_hypervisor(body: Mapping[str, Any]) -> Hypervisor:
    """A Hypervisor whose amounts can be counted: each was written by the node it describes."""
    hypervisor = Hypervisor.from_api(body)
    allocatable_of(hypervisor)
    for image in hypervisor.status.images:
        to_bytes(image.virtual_size)
    for guest in hypervisor.status.remains:
        to_millis(guest.cpu)
        for amount in (guest.memory, *(pool.size for pool in guest.pools)):
            to_bytes(amount)
    return hypervisor


class Cluster:
    """The collections, one per kind.

    Args:
        lease_namespace: Berth's own, where Leases and anchors are.
        anchored: Whether nodes have anchors; where they have none, no Pod is listed.
    """

    def __init__(self, lease_namespace: str, *, anchored: bool = False) -> None:
        self.anchored = anchored
        self.anchors = Collection(kinds.POD, Anchor.from_api, lease_namespace, f"{ANCHOR_LABEL}=true")
        self.budgets = Collection(kinds.POD_DISRUPTION_BUDGET, Budget.from_api, lease_namespace, f"{ANCHOR_LABEL}=true")
        self.machines = Collection(kinds.VIRTUAL_MACHINE, read_machine)
        self.classes = Collection(kinds.VIRTUAL_MACHINE_CLASS, VirtualMachineClass.from_api)
        self.images = Collection(kinds.VIRTUAL_MACHINE_IMAGE, VirtualMachineImage.from_api)
        self.cluster_images = Collection(kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, ClusterVirtualMachineImage.from_api)
        self.networks = Collection(kinds.VIRTUAL_NETWORK, VirtualNetwork.from_api)
        self.pools = Collection(kinds.STORAGE_POOL, StoragePool.from_api)
        self.hypervisors = Collection(kinds.HYPERVISOR, read_hypervisor)
        self.nodes = Collection(kinds.NODE, Node.from_api)
        self.leases = Collection(kinds.LEASE, Heartbeat.from_api, lease_namespace)
        self.namespaces = Collection(kinds.NAMESPACE, namespace_labels)
        self.priority_classes = Collection(kinds.PRIORITY_CLASS, PriorityClass.from_api)
        self.unlisted: frozenset[Collection[Any]] = frozenset(self.collections)
        """Those of which no complete list was ever taken in."""

    @property
    def collections(self) -> tuple[Collection[Any], ...]:
        """All of them, nodes and their properties before what is placed on them."""
        return (
            self.namespaces,
            self.priority_classes,
            self.nodes,
            self.leases,
            self.hypervisors,
            self.pools,
            self.networks,
            self.classes,
            self.images,
            self.cluster_images,
            *self.kept,
            self.machines,
        )

    @property
    def kept(self) -> tuple[Collection[Any], ...]:
        """What the operator itself makes and looks after."""
        return (self.anchors, self.budgets) if self.anchored else ()

    @property
    def busy(self) -> tuple[Collection[Any], ...]:
        """Those that change all the time: every binding, every heartbeat, and what every binding makes the anchor."""
        return (self.leases, *self.kept, self.machines)

    def priority(self, name: str) -> int | None:
        """The value of a PriorityClass, or of the global default where none is named; None: there is no such class."""
        if name:
            found = self.priority_classes.get(name)
            return found.value if found is not None else None
        return max((each.value for each in self.priority_classes if each.global_default), default=0)

    def image(
        self, reference: ImageReference, namespace: str
    ) -> VirtualMachineImage | ClusterVirtualMachineImage | None:
        """The image that a VM of this namespace refers to."""
        if reference.kind == kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE.kind:
            return self.cluster_images.get(reference.name)
        return self.images.get(reference.name, namespace)

    @property
    def quiet(self) -> tuple[Collection[Any], ...]:
        """All others."""
        return tuple(each for each in self.collections if each not in self.busy)

    async def refresh(self, api: Api, which: Sequence[Collection[Any]] | None = None) -> None:
        """List everything anew, then take it in at once, so that no decision sees half of it.

        Args:
            api: Where.
            which: Only these.

        Raises:
            ApiError: A list failed; nothing was taken in.
        """
        which = self.collections if which is None else which
        lists = await asyncio.gather(*(_list(api, each) for each in which))
        for collection, listed in zip(which, lists, strict=True):
            collection.replace(listed)
        self.note_listed(which)

    def note_listed(self, which: Sequence[Collection[Any]]) -> None:
        """Complete lists of these were taken in."""
        self.unlisted = self.unlisted.difference(which)


async def _list(api: Api, collection: Collection[Any]) -> ObjectList:
    return await api.list(collection.kind, collection.namespace, label_selector=collection.label_selector)
