"""Hypervisor: a node that can run VMs. Named like its Node; made by the node's agent, steered by the administrator.

The heartbeat is a Lease of the same name: this object changes only when what it says changes.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from berth_api.markers import Cel, ListMap, SetList
from berth_api.objects import Condition, Model, Resource
from berth_api.quantities import MeasuredQuantity, Quantity
from berth_api.virtualmachines import MAC_ADDRESS, IPAddress

FirmwareKind = Literal["BIOS", "EFI", "SecureBoot"]
"""How guests can be booted; SecureBoot is EFI that insists on signed boot loaders."""

_AT_LEAST_A_TENTH = Cel("self >= 0.1", "must be at least 0.1; to keep new VMs away set schedulable to false")
"""Beside the schema's minimum, whose integer part is all that the API server compares a whole number with."""


class Overcommit(Model):
    """How many times its capacity a node may be claimed. The defaults are Nova's."""

    cpu: Annotated[float, Field(ge=0.1, le=64), _AT_LEAST_A_TENTH] = 4.0
    memory: Annotated[float, Field(ge=0.1, le=8), _AT_LEAST_A_TENTH] = 1.0
    storage: Annotated[float, Field(ge=0.1, le=64), _AT_LEAST_A_TENTH] = 1.0


class Reserved(Model):
    """What is kept for the node itself."""

    cpu: Quantity = "0"
    memory: Quantity = "512Mi"
    storage: Quantity = "0"


class HypervisorSpec(Model):
    """The administrator's wishes."""

    schedulable: bool = True
    """False: no new VMs."""
    maintenance: bool = False
    overcommit: Overcommit = Field(default_factory=Overcommit)
    reserved: Reserved = Field(default_factory=Reserved)
    max_virtual_machines: Annotated[int, Field(ge=0, le=10000)] = 250
    """VMs that may be bound to the node, whatever their size: each costs processes, taps and a share of every listing.
    The counterpart of a kubelet's maxPods."""


class HypervisorCapacity(Model):
    """What the node has in all."""

    cpu: MeasuredQuantity
    memory: MeasuredQuantity


class HypervisorImage(Model):
    """An image that the node holds."""

    digest: str
    format: str
    virtual_size: MeasuredQuantity
    size: MeasuredQuantity


class HypervisorPool(Model):
    """A storage pool as this node has it."""

    name: str
    capacity: MeasuredQuantity
    """Bytes that VMs' disks may take in all: the file system's size, less what others use."""
    ready: bool = True
    message: str = ""


class HypervisorNetwork(Model):
    """A VirtualNetwork as this node can provide it."""

    name: str
    ready: bool
    message: str = ""


class RemainingInterface(Model):
    """A NIC of a guest that remains."""

    name: Annotated[str, Field(max_length=32)]
    network_name: Annotated[str, Field(max_length=253)]
    mac_address: Annotated[str, Field(max_length=17, pattern=MAC_ADDRESS)]
    ip_addresses: Annotated[tuple[IPAddress, ...], Field(max_length=4)] = ()
    """Without prefix length."""


class RemainingPool(Model):
    """What disks of a guest that remains take of a storage pool."""

    name: Annotated[str, Field(max_length=253)]
    size: MeasuredQuantity


class HypervisorRemains(Model):
    """What is on the node and this cluster has no VirtualMachine for: another cluster's, or of before a restore."""

    namespace: Annotated[str, Field(max_length=63)]
    """Empty, as the name: not known, and only disks or NICs are left."""
    name: Annotated[str, Field(max_length=253)]
    uid: Annotated[str, Field(max_length=64)]
    cpu: MeasuredQuantity = "0"
    """What its running guest takes of the node, as a claim would say it."""
    memory: MeasuredQuantity = "0"
    pools: Annotated[tuple[RemainingPool, ...], Field(max_length=24), ListMap(("name",))] = ()
    interfaces: Annotated[tuple[RemainingInterface, ...], Field(max_length=8), ListMap(("name",))] = ()


class HypervisorStatus(Model):
    """What the node's agent found."""

    capacity: HypervisorCapacity | None = None
    accelerator: Literal["kvm", "tcg"] | None = None
    architecture: str | None = None
    hypervisor_version: str | None = None
    libvirt_version: str | None = None
    agent_version: str | None = None
    cpu_models: Annotated[tuple[str, ...], SetList()] = ()
    cpu_features: Annotated[tuple[str, ...], SetList()] = ()
    """CPU features that guests can be given under the node's accelerator, by libvirt's names."""
    machine_types: Annotated[tuple[str, ...], SetList()] = ()
    """With q35 among them, which stands for the newest."""
    firmware: Annotated[tuple[FirmwareKind, ...], SetList()] = ()
    networks: Annotated[tuple[HypervisorNetwork, ...], ListMap(("name",))] = ()
    images: Annotated[tuple[HypervisorImage, ...], ListMap(("digest",))] = ()
    storage_pools: Annotated[tuple[HypervisorPool, ...], ListMap(("name",))] = ()
    pod_requests: HypervisorCapacity | None = None
    """Sum of the requests of the node's Pods that have not ended, as the node's agent counts them."""
    public_key: str | None = None
    """Curve25519 public key in base64, to which the operator seals what this node's VMs need."""
    remains: Annotated[tuple[HypervisorRemains, ...], Field(max_length=500), ListMap(("uid",))] = ()
    """Told with the first report, and never more than that: nothing of another cluster's comes while an agent of this
    one is there. A VM goes on with one of them only where its owner agrees: see `berth_api.fields.ADOPT`."""
    conditions: Annotated[tuple[Condition, ...], ListMap(("type",))] = ()

    def applied(self) -> dict[str, Any]:
        """What an agent applies: all but `remains`. That there are none may be said only by who has looked."""
        return {name: value for name, value in self.to_api().items() if name != "remains"}


class Hypervisor(Resource):
    """A node that can run VMs."""

    kind: str = "Hypervisor"
    spec: HypervisorSpec = Field(default_factory=HypervisorSpec)
    status: HypervisorStatus = Field(default_factory=HypervisorStatus)
