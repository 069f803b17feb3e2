"""What a VM refers to: its class, networks, images, pools. All of it must exist before the VM is given a node.

A missing object is no error: the VM says what it waits for, and is looked at again when that object appears.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from berth_api import kinds
from berth_api.hardware import CPU, Memory
from berth_api.kinds import Kind
from berth_api.quantities import to_bytes
from berth_api.virtualmachineimages import ClusterVirtualMachineImage, VirtualMachineImage
from berth_api.virtualmachines import Disk, ImageReference, VirtualMachine
from berth_api.virtualnetworks import VirtualNetwork
from berth_operator.cluster import Cluster

Image = VirtualMachineImage | ClusterVirtualMachineImage


@dataclass(frozen=True)
class Reference:
    """An object that a VM waits for."""

    kind: Kind
    name: str
    namespace: str = ""


class Unbindable(Exception):
    """The VM cannot be bound now: why, in one word and in a sentence that says what to change.

    `waits_for`: objects whose change may help. `waits_for_room`: so may a change of any node, or a freed claim.
    `polls`: so may something that is not watched.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        waits_for: tuple[Reference, ...] = (),
        waits_for_room: bool = False,
        polls: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message
        self.waits_for, self.waits_for_room, self.polls = waits_for, waits_for_room, polls


@dataclass(frozen=True)
class Resolved:
    """A VM's references, found."""

    cpu: CPU
    memory: Memory
    networks: dict[str, VirtualNetwork]
    images: frozenset[str] = frozenset()
    """Digests of the images that its disks are born from."""


def resolve(vm: VirtualMachine, cluster: Cluster, *, stays: bool = False) -> Resolved:
    """Find everything that the VM refers to.

    Args:
        vm: Whose references.
        cluster: What there is.
        stays: It is bound: its disks were born on its node, and images and pools that are gone are missed no more.
            Where a disk was not made after all, its node's agent says so.

    Raises:
        Unbindable: something is missing, may not be used, or does not fit.
    """
    cpu, memory = size_of(vm, cluster)
    networks = {nic.network_name: _network(vm, nic.network_name, cluster) for nic in vm.spec.interfaces}
    images: set[str] = set()
    for disk in () if stays else vm.spec.disks:
        image = _check_disk(vm, disk, cluster)
        if image is not None and image.spec.checksum:
            images.add(image.spec.checksum)
    for reference in _kernel_images(vm):
        _image(vm, reference, cluster)
    return Resolved(cpu, memory, networks, frozenset(images))


def size_of(vm: VirtualMachine, cluster: Cluster) -> tuple[CPU, Memory]:
    """The VM's CPU and memory: its class's, or its own.

    Raises:
        Unbindable: the class is not there.
    """
    spec = vm.spec
    if spec.class_name is not None:
        found = cluster.classes.get(spec.class_name)
        if found is None:
            raise Unbindable(
                "ClassNotFound",
                f"VirtualMachineClass {spec.class_name} does not exist: create it, or name another in className",
                waits_for=(Reference(kinds.VIRTUAL_MACHINE_CLASS, spec.class_name),),
            )
        return found.spec.cpu, found.spec.memory
    if spec.cpu is None or spec.memory is None:
        raise Unbindable("SizeMissing", "the VM has no size: give className, or cpu and memory")
    return spec.cpu, spec.memory


def _network(vm: VirtualMachine, name: str, cluster: Cluster) -> VirtualNetwork:
    network = cluster.networks.get(name)
    wait = (Reference(kinds.VIRTUAL_NETWORK, name),)
    if network is None:
        hint = "; for a VM without network write networks: []" if vm.spec.networks is None else ""
        raise Unbindable(
            "NetworkNotFound",
            f"VirtualNetwork {name} does not exist: create it, or name another in networks{hint}",
            waits_for=wait,
        )
    allowed = network.spec.allowed_namespaces
    if allowed is not None and vm.metadata.namespace not in allowed:
        raise Unbindable(
            "NamespaceNotAllowed",
            f"VirtualNetwork {name} does not allow namespace {vm.metadata.namespace}: "
            "add it to the network's allowedNamespaces, or use another network",
            waits_for=wait,
        )
    return network


def _kernel_images(vm: VirtualMachine) -> Iterator[ImageReference]:
    kernel = vm.spec.firmware.kernel
    if kernel is not None:
        yield kernel.image_ref
        if kernel.initrd_ref is not None:
            yield kernel.initrd_ref


def _image_reference(vm: VirtualMachine, reference: ImageReference) -> Reference:
    if reference.kind == kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE.kind:
        return Reference(kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, reference.name)
    return Reference(kinds.VIRTUAL_MACHINE_IMAGE, reference.name, vm.metadata.namespace)


def _image(vm: VirtualMachine, reference: ImageReference, cluster: Cluster) -> Image:
    image = cluster.image(reference, vm.metadata.namespace)
    if image is None:
        where = "" if reference.kind.startswith("Cluster") else f" in namespace {vm.metadata.namespace}"
        raise Unbindable(
            "ImageNotFound",
            f"{reference.kind} {reference.name} does not exist{where}: create it, or name another in imageRef",
            waits_for=(_image_reference(vm, reference),),
        )
    return image


def _check_disk(vm: VirtualMachine, disk: Disk, cluster: Cluster) -> Image | None:
    """The image that the disk is born from."""
    if disk.volume_name is not None:
        raise Unbindable(
            "VolumesNotSupported",
            f"disk {disk.name} names a volume, and this version of Berth has none yet: use imageRef, or a blank disk",
        )
    if cluster.pools.get(disk.pool) is None:
        raise Unbindable(
            "StoragePoolNotFound",
            f"StoragePool {disk.pool} of disk {disk.name} does not exist: create it, or change storagePoolName",
            waits_for=(Reference(kinds.STORAGE_POOL, disk.pool),),
        )
    if disk.image_ref is None or disk.size is None:
        return None
    image = _image(vm, disk.image_ref, cluster)
    virtual_size = to_bytes(image.status.virtual_size) if image.status.virtual_size is not None else None
    if virtual_size is not None and virtual_size > to_bytes(disk.size):
        raise Unbindable(
            "DiskSmallerThanImage",
            f"disk {disk.name} has {disk.size}, but image {disk.image_ref.name} needs {virtual_size} bytes: "
            "give the disk at least that size",
            waits_for=(_image_reference(vm, disk.image_ref),),
        )
    return image
