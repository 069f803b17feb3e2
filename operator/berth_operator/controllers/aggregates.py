"""What many nodes know of one object, summed up in its status: images, storage pools, networks.

Written only where it differs from what is there, and at most once per `aggregation_delay` and object: a hundred VMs
that are bound at once change a network's counts once.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from berth_api.client import Api
from berth_api.fields import OPERATOR
from berth_api.hypervisors import Hypervisor
from berth_api.objects import Resource
from berth_api.quantities import to_bytes
from berth_api.storagepools import StoragePool
from berth_api.virtualmachineimages import ClusterVirtualMachineImage, VirtualMachineImage
from berth_api.virtualnetworks import VirtualNetwork
from berth_operator.leases import Leadership
from berth_operator.scheduling.addresses import Space
from berth_operator.scheduling.holdings import Address
from berth_operator.store import Collection, Key

R = TypeVar("R", bound=Resource)
Status = dict[str, Any]


def image_status(image: VirtualMachineImage | ClusterVirtualMachineImage, hypervisors: Iterable[Hypervisor]) -> Status:
    """Which nodes hold the image, and what they found it to be. Ready once one node holds it."""
    copies = {
        hypervisor.metadata.name: copy
        for hypervisor in hypervisors
        for copy in hypervisor.status.images
        if copy.digest == image.spec.checksum
    }
    if not copies:
        return {"phase": "Pending"}
    first = copies[min(copies)]
    size = str(to_bytes(first.virtual_size))
    return {"phase": "Ready", "format": first.format, "virtualSize": size, "nodes": sorted(copies)}


def pool_status(pool: StoragePool, hypervisors: Iterable[Hypervisor]) -> Status:
    """On how many nodes the pool is active."""
    name = pool.metadata.name
    active = [any(one.name == name and one.ready for one in each.status.storage_pools) for each in hypervisors]
    return {"nodes": active.count(True)}


def network_status(network: VirtualNetwork, taken: Mapping[Address, object]) -> Status:
    """How many addresses are taken and how many are left, per subnet and in all."""
    subnets: list[dict[str, Any]] = []
    for subnet in network.spec.subnets:
        allocated, free = Space.of(subnet).count(taken)
        subnets.append({"cidr": subnet.cidr, "allocated": allocated, "free": free})
    if not subnets:
        return {}
    total = {key: sum(subnet[key] for subnet in subnets) for key in ("allocated", "free")}
    return {"subnets": subnets, **total}


def differs(current: Any, wanted: Any) -> bool:
    """Whether applying `wanted` would change `current` (the status as it is now, in API form)."""
    if isinstance(wanted, dict) and isinstance(current, dict):
        return any(differs(current.get(key), value) for key, value in wanted.items())
    return current is None or bool(current != wanted)


async def write_status(api: Api, collection: Collection[R], key: Key, wanted: Status, leadership: Leadership) -> None:
    """Apply the status, if it says something new.

    Raises:
        ApiError: it could not be written.
        NotLeadingError: the leadership ended.
    """
    namespace, name = key
    found = collection.get(name, namespace)
    if found is None:
        return
    current = found.to_api().get("status", {})
    owned = ("nodes", "format", "virtualSize", "subnets")
    vanished = any(current.get(field) and field not in wanted for field in owned)
    if not vanished and not differs(current, wanted):
        return
    leadership.check()
    body = {"metadata": {"uid": found.metadata.uid}, "status": wanted}
    written = await api.apply(collection.kind, name, namespace, body, field_manager=OPERATOR, subresource="status")
    collection.upsert(written)
