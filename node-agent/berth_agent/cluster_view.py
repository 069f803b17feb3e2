"""What the watches have brought of the cluster: the agent's picture of its VMs and of what they refer to.

A picture may be behind. It is never reason enough to destroy anything: whoever wants to destroy asks the API server
first (`reconcile/ownership.py`). An object replaces another only if it is newer, so that the answer to our own write
and a late watch event cannot cross.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError

from berth_agent.node.allocations import is_anchor
from berth_agent.node.pods import Pod, sum_of_requests
from berth_api.allocatable import Amounts
from berth_api.fields import SYSTEM_NAMESPACE
from berth_api.hardware import CPU, Memory
from berth_api.hypervisors import Hypervisor
from berth_api.kinds import (
    CLUSTER_VIRTUAL_MACHINE_IMAGE,
    HYPERVISOR,
    POD,
    STORAGE_POOL,
    VIRTUAL_MACHINE,
    VIRTUAL_MACHINE_CLASS,
    VIRTUAL_MACHINE_IMAGE,
    VIRTUAL_NETWORK,
    Kind,
)
from berth_api.objects import Resource
from berth_api.storagepools import StoragePool
from berth_api.virtualmachineclasses import VirtualMachineClass
from berth_api.virtualmachineimages import ClusterVirtualMachineImage, ImageSpec, VirtualMachineImage
from berth_api.virtualmachines import ImageReference, VirtualMachine
from berth_api.virtualnetworks import VirtualNetwork

log = structlog.get_logger()

MODELS: Mapping[Kind, type[Resource]] = {
    VIRTUAL_MACHINE: VirtualMachine,
    VIRTUAL_MACHINE_CLASS: VirtualMachineClass,
    VIRTUAL_MACHINE_IMAGE: VirtualMachineImage,
    CLUSTER_VIRTUAL_MACHINE_IMAGE: ClusterVirtualMachineImage,
    VIRTUAL_NETWORK: VirtualNetwork,
    STORAGE_POOL: StoragePool,
    HYPERVISOR: Hypervisor,
    POD: Pod,
}

_R = TypeVar("_R", bound=Resource)


class ReferenceMissing(Exception):
    """An object that the VM names is not there, or does not say what is needed. It may come later."""

    retryable = True

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ClusterView:
    """The newest known state of each object.

    Args:
        namespace: Berth's own, where the Pod is that stands for the node's VMs.
    """

    def __init__(self, namespace: str = SYSTEM_NAMESPACE) -> None:
        self._namespace = namespace
        self._objects: dict[Kind, dict[tuple[str, str], Resource]] = {kind: {} for kind in MODELS}
        self._vm_keys: dict[str, tuple[str, str]] = {}
        self._forgotten: dict[Kind, dict[str, int]] = {kind: {} for kind in MODELS}
        """The version at which each UID went: a list or an answer that is older must not bring it back."""

    def put(self, kind: Kind, body: Mapping[str, Any]) -> Resource | None:
        """Take in an object. None if it is not newer than what is known, or cannot be read."""
        try:
            fresh = MODELS[kind].from_api(body)
        except ValidationError as error:
            log.error("object cannot be read", kind=kind.kind, name=_name(body), error=_without_values(error))
            return None
        known = self._objects[kind].get(fresh.key)
        if known is not None and _version(known) >= _version(fresh):
            return None
        if self._forgotten[kind].get(fresh.metadata.uid, -1) >= _version(fresh):
            return None
        self._forgotten[kind].pop(fresh.metadata.uid, None)
        self._objects[kind][fresh.key] = fresh
        if kind is VIRTUAL_MACHINE:
            if known is not None:
                self._vm_keys.pop(known.metadata.uid, None)
            self._vm_keys[fresh.metadata.uid] = fresh.key
        return fresh

    def forget(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Take an object out, unless it has been replaced by another of the same name."""
        metadata = body.get("metadata", {})
        key, uid = (metadata.get("namespace", ""), metadata.get("name", "")), metadata.get("uid", "")
        known = self._objects[kind].get(key)
        if known is not None and known.metadata.uid == uid:
            del self._objects[kind][key]
        self._vm_keys.pop(uid, None)
        self._forgotten[kind][uid] = _number(metadata.get("resourceVersion", ""))

    def find(self, kind: Kind, namespace: str, name: str) -> Resource | None:
        """The object of this name, as far as is known."""
        return self._objects[kind].get((namespace, name))

    def missing_from(self, kind: Kind, present: set[tuple[str, str]], *, as_of: str) -> tuple[Resource, ...]:
        """Objects that a complete list of version `as_of` does not hold, and that are not newer than the list.

        What went before that list was made need not be remembered any more.
        """
        version = _number(as_of)
        self._forgotten[kind] = {uid: went for uid, went in self._forgotten[kind].items() if went > version}
        return tuple(
            known for key, known in self._objects[kind].items() if key not in present and _version(known) <= version
        )

    def vm(self, uid: str) -> VirtualMachine | None:
        """The VM with this UID, if it is bound here as far as is known."""
        vm = self._of(VIRTUAL_MACHINE, VirtualMachine).get(self._vm_keys.get(uid, ("", "")))
        return vm if vm is not None and vm.metadata.uid == uid else None

    def vms(self) -> Iterable[VirtualMachine]:
        """All VMs bound to this node, as far as is known."""
        return self._of(VIRTUAL_MACHINE, VirtualMachine).values()

    def networks(self) -> Iterable[VirtualNetwork]:
        """All networks."""
        return self._of(VIRTUAL_NETWORK, VirtualNetwork).values()

    def pools(self) -> Iterable[StoragePool]:
        """All storage pools."""
        return self._of(STORAGE_POOL, StoragePool).values()

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The Pod of this name, if it is on this node as far as is known."""
        return self._of(POD, Pod).get((namespace, name))

    def pod_requests(self) -> Amounts:
        """What the Pods of this node request together, as far as is known. What stands for VMs is left out."""
        return sum_of_requests(pod for pod in self._of(POD, Pod).values() if not self.is_anchor(pod))

    def is_anchor(self, pod: Pod) -> bool:
        """Whether the Pod stands for VMs."""
        return is_anchor(pod, self._namespace)

    def hypervisor(self, name: str) -> Hypervisor | None:
        """The Hypervisor of this name."""
        return self._of(HYPERVISOR, Hypervisor).get(("", name))

    def network(self, name: str) -> VirtualNetwork:
        """The network of this name.

        Raises:
            ReferenceMissing: there is none.
        """
        network = self._of(VIRTUAL_NETWORK, VirtualNetwork).get(("", name))
        if network is None:
            raise ReferenceMissing("NetworkNotFound", f"there is no VirtualNetwork {name}")
        return network

    def pool(self, name: str) -> StoragePool:
        """The storage pool of this name.

        Raises:
            ReferenceMissing: there is none.
        """
        pool = self._of(STORAGE_POOL, StoragePool).get(("", name))
        if pool is None:
            raise ReferenceMissing("StoragePoolNotFound", f"there is no StoragePool {name}")
        return pool

    def image(self, reference: ImageReference, namespace: str) -> ImageSpec:
        """Where the image comes from that a VM of `namespace` refers to.

        Raises:
            ReferenceMissing: there is none.
        """
        found: VirtualMachineImage | ClusterVirtualMachineImage | None
        if reference.kind == "ClusterVirtualMachineImage":
            found = self._of(CLUSTER_VIRTUAL_MACHINE_IMAGE, ClusterVirtualMachineImage).get(("", reference.name))
        else:
            found = self._of(VIRTUAL_MACHINE_IMAGE, VirtualMachineImage).get((namespace, reference.name))
        if found is None:
            raise ReferenceMissing("ImageNotFound", f"there is no {reference.kind} {reference.name}")
        return found.spec

    def size(self, vm: VirtualMachine) -> tuple[CPU, Memory]:
        """CPU and memory of a VM, from its class or its own.

        Raises:
            ReferenceMissing: its class is not there.
        """
        if vm.spec.cpu is not None and vm.spec.memory is not None:
            return vm.spec.cpu, vm.spec.memory
        name = vm.spec.class_name or ""
        flavor = self._of(VIRTUAL_MACHINE_CLASS, VirtualMachineClass).get(("", name))
        if flavor is None:
            raise ReferenceMissing("ClassNotFound", f"there is no VirtualMachineClass {name}")
        return flavor.spec.cpu, flavor.spec.memory

    def _of(self, kind: Kind, _model: type[_R]) -> dict[tuple[str, str], _R]:
        return self._objects[kind]  # type: ignore[return-value]  # MODELS pairs each kind with its model


def _version(resource: Resource) -> int:
    """Resource versions of one resource are ordered integers (KEP-5504, Kubernetes 1.35; true of etcd before)."""
    return _number(resource.metadata.resource_version)


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0


def _without_values(error: ValidationError) -> str:
    """What is wrong where; the values may be somebody's user-data."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)


def _name(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata", {})
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
