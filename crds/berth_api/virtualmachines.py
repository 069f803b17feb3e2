"""VirtualMachine: what a user asks for, where it was bound, and what became of it.

Spec is the user's alone. In the status, `nodeName`, `claim` and the condition `Scheduled` are the operator's and the
rest is the bound node's agent's; `phase` changes hands with the binding. Both write by server-side apply.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from berth_api.hardware import CPU, Memory
from berth_api.markers import Cel, InWords, ListMap, ServerDefault, SetList
from berth_api.objects import DNS_LABEL, Condition, Label, Model, ObjectName, Resource
from berth_api.probes import Probe
from berth_api.quantities import MeasuredQuantity
from berth_api.selectors import Affinity, LabelValue, Toleration, TopologySpreadConstraint

MAC_ADDRESS = r"^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$"
MACHINE_TYPE = r"^(q35|pc-q35-[a-z0-9]([a-z0-9.-]*[a-z0-9])?)$"
MAX_USER_DATA = 65536
"""Bytes of user-data: what Nova allows, and small enough to keep an object well under etcd's 1.5 MiB."""

Phase = Literal[
    "Pending",
    "Unschedulable",
    "Scheduled",
    "Starting",
    "Running",
    "Paused",
    "Migrating",
    "Stopping",
    "Stopped",
    "CrashLoopBackOff",
    "Terminating",
    "NodeLost",
    "Failed",
    "Unknown",
]
RunStrategy = Literal["Always", "RerunOnFailure", "Once", "Halted"]

MacAddress = Annotated[
    str,
    Field(pattern=MAC_ADDRESS, max_length=17),
    InWords("must be a unicast MAC address in lower case with colons, such as 52:54:00:12:34:56"),
]
"""A unicast MAC address in lower case with colons."""
IPAddress = Annotated[str, Field(min_length=2, max_length=45)]


class ImageReference(Model):
    """An image of the VM's own namespace, or a cluster-wide one."""

    kind: Annotated[
        Literal["VirtualMachineImage", "ClusterVirtualMachineImage"], ServerDefault("VirtualMachineImage")
    ] = "VirtualMachineImage"
    name: ObjectName


class KernelBoot(Model):
    """Direct kernel boot: QEMU loads kernel and initrd itself, no boot loader runs."""

    image_ref: ImageReference
    initrd_ref: ImageReference | None = None
    command_line: Annotated[
        str, Field(max_length=2048, pattern=r"^[ -~]*$"), InWords("must be printable ASCII on one line")
    ] = ""


class Firmware(Model):
    """How the guest boots."""

    type: Annotated[Literal["BIOS", "EFI"], ServerDefault("BIOS")] = "BIOS"
    secure_boot: bool = False
    uuid: Annotated[
        str,
        Field(max_length=36, pattern=r"^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$"),
        InWords("must be a UUID in lower case"),
    ] = ""
    """SMBIOS UUID that the guest sees. Left out: the object's UID."""
    kernel: KernelBoot | None = None

    rules = (
        Cel("!has(self.secureBoot) || !self.secureBoot || self.type == 'EFI'", "secureBoot needs type EFI"),
        Cel("!has(self.kernel) || self.type == 'BIOS'", "direct kernel boot needs type BIOS"),
    )


class Disk(Model):
    """A disk: born from an image, a volume that outlives the VM, or blank.

    What sizes a disk may have is in a policy of the chart (`disk-sizes`): before Kubernetes 1.34 the API server reckons
    that every quantity of a list is as long as a request may be, and takes no rule that looks at two.
    """

    name: Annotated[Label, Field(max_length=32)]
    image_ref: ImageReference | None = None
    volume_name: ObjectName | None = None
    size: MeasuredQuantity | None = None
    storage_pool_name: ObjectName | None = None
    """Left out: the pool named default."""
    boot_order: Annotated[int, Field(ge=1, le=64)] | None = None
    bus: Annotated[Literal["virtio", "scsi", "sata"], ServerDefault("virtio")] = "virtio"

    rules = (
        Cel(
            "!(has(self.imageRef) && has(self.volumeName))",
            "a disk is born from an image or is a volume: give imageRef or volumeName, not both",
        ),
        Cel(
            "has(self.volumeName) != has(self.size)",
            "a disk from an image and a blank disk need a size; a volume brings its own:"
            " leave size out beside volumeName",
        ),
        Cel(
            "!(has(self.volumeName) && has(self.storagePoolName))",
            "a volume is already in a pool: leave storagePoolName out beside volumeName",
        ),
        Cel(
            "!has(self.size) || type(self.size) == int || (isQuantity(self.size) && !self.size.startsWith('-'))",
            "disk size must be a quantity such as 10Gi, and not negative",
        ),
        Cel(
            "has(self.volumeName) == has(oldSelf.volumeName)",
            "a VM's own disk cannot become a volume, nor a volume its own disk: add a disk with another name instead",
        ),
        Cel(
            "(has(self.storagePoolName) ? self.storagePoolName : 'default')"
            " == (has(oldSelf.storagePoolName) ? oldSelf.storagePoolName : 'default')",
            "a disk stays in its storage pool: add a disk with another name in the other pool instead",
        ),
        Cel(
            "has(self.imageRef) == has(oldSelf.imageRef) && (!has(self.imageRef) || self.imageRef == oldSelf.imageRef)",
            "the image of an existing disk cannot change: add a disk with another name instead",
        ),
    )

    @property
    def pool(self) -> str:
        """The storage pool that a disk of its own goes to."""
        return self.storage_pool_name or "default"


class NetworkInterface(Model):
    """A NIC on a VirtualNetwork."""

    name: Annotated[Label, Field(max_length=32)]
    network_name: ObjectName
    mac_address: MacAddress | None = None
    """Left out: Berth gives it one that stays the VM's."""
    ip_addresses: Annotated[tuple[IPAddress, ...], Field(max_length=4), SetList()] = ()
    """Left out: one free address of each of the network's subnets."""

    rules = (
        Cel(
            "!has(self.ipAddresses) || self.ipAddresses.all(a, isIP(a))",
            "ipAddresses are plain IP addresses, without a prefix length",
        ),
    )


class SecretKeyReference(Model):
    """A key of a Secret in the VM's namespace."""

    name: ObjectName
    key: Annotated[
        str,
        Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$"),
        InWords("must be a Secret's key: of letters, digits, '-', '_' and '.'"),
    ]


class CloudInit(Model):
    """What the guest's cloud-init is told, as a NoCloud seed."""

    user_data: Annotated[str, Field(max_length=MAX_USER_DATA)] | None = None
    """At most 64 KiB; a larger script belongs on a server that user-data fetches it from."""
    user_data_secret_ref: SecretKeyReference | None = None
    ssh_authorized_keys: Annotated[
        tuple[
            Annotated[
                str, Field(max_length=8192, pattern=r"^[^\n\r]+$"), InWords("must be one public key, on one line")
            ],
            ...,
        ],
        Field(max_length=32),
    ] = ()

    rules = (
        Cel(
            "!(has(self.userData) && has(self.userDataSecretRef))",
            "user-data is given inline or by a Secret: give userData or userDataSecretRef, not both",
        ),
    )


class VirtualMachineSpec(Model):
    """What the user asks for."""

    run_strategy: Annotated[RunStrategy, ServerDefault("Always")] = "Always"
    paused: bool = False
    restarted_at: datetime | None = None
    """A new value restarts the guest once, gracefully, or starts one again that has ended under Once or RerunOnFailure;
    removing it does nothing. A Halted VM stays off."""
    class_name: ObjectName | None = None
    cpu: CPU | None = None
    memory: Memory | None = None
    machine_type: (
        Annotated[
            str,
            Field(max_length=63, pattern=MACHINE_TYPE),
            InWords("must be q35, or one of its versions such as pc-q35-7.2"),
        ]
        | None
    ) = None
    """The guest's chipset, as a version of q35. Left out, or just q35: the newest that the node of the VM's first start
    has, which the VM then keeps. Another one comes in at the next start."""
    firmware: Firmware = Field(default_factory=Firmware)
    disks: Annotated[tuple[Disk, ...], Field(max_length=24), ListMap(("name",))] = ()
    networks: Annotated[tuple[NetworkInterface, ...], Field(max_length=8), ListMap(("name",))] | None = None
    """Left out: one NIC on the network named default. An empty list: none."""
    cloud_init: CloudInit | None = None
    node_name: ObjectName | None = None
    """The user's pin, as in a Pod; Berth never writes it."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(default_factory=dict)
    affinity: Affinity | None = None
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32)] = ()
    topology_spread_constraints: Annotated[
        tuple[TopologySpreadConstraint, ...], Field(max_length=16), ListMap(("topologyKey", "whenUnsatisfiable"))
    ] = ()
    priority_class_name: Annotated[
        str,
        Field(max_length=253),
        Cel("!self.startsWith('system-')", "priority classes named system-… are the cluster's own: make one for VMs"),
    ] = ""
    """A PriorityClass that is not the cluster's own. VMs of a higher priority are placed first; none makes way for
    another. Left out: the cluster's default class, or priority 0."""
    scheduler_profile: Label | None = None
    """The profile of filters and scores by which a node is chosen, from the operator's configuration.
    Left out: the profile named default."""
    eviction_strategy: Annotated[
        Literal["LiveMigrate", "LiveMigrateIfPossible", "None"], ServerDefault("LiveMigrate")
    ] = "LiveMigrate"
    """What becomes of the VM when its node is drained. Not honoured yet: no VM is evicted or migrated."""
    recovery_strategy: Annotated[Literal["Restart", "None"], ServerDefault("Restart")] = "Restart"
    """What becomes of the VM when its node is lost. Not honoured yet: it stays bound to the node."""
    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=3600), ServerDefault(30)] = 30
    """Seconds that a guest which is asked to stop has before it is stopped hard."""
    liveness_probe: Probe | None = None
    """A guest that fails it is restarted where the run strategy restarts guests that fail."""
    readiness_probe: Probe | None = None
    """The VM is Ready only while it succeeds."""

    rules = (
        Cel(
            "has(self.className) != (has(self.cpu) || has(self.memory))",
            "give either className, or cpu and memory, never both",
        ),
        Cel("has(self.cpu) == has(self.memory)", "cpu and memory go together: give both, or a className instead"),
        Cel(
            "!has(self.disks) || self.disks.filter(d, has(d.bootOrder))"
            ".all(d, self.disks.exists_one(e, has(e.bootOrder) && e.bootOrder == d.bootOrder))",
            "each bootOrder may be given to one disk only",
        ),
        Cel(
            "!has(self.networks) || self.networks.filter(n, has(n.macAddress))"
            ".all(n, self.networks.exists_one(m, has(m.macAddress) && m.macAddress == n.macAddress))",
            "each macAddress may be given to one network interface only",
        ),
        Cel(
            "(has(self.disks) && size(self.disks) > 0) || (has(self.firmware) && has(self.firmware.kernel))",
            "a VM needs something to boot from: give at least one disk, or firmware.kernel",
        ),
        Cel(
            "!has(self.livenessProbe) || !has(self.livenessProbe.successThreshold)"
            " || self.livenessProbe.successThreshold == 1",
            "livenessProbe.successThreshold must be 1: a guest that has failed is restarted, not watched further",
        ),
    )

    @property
    def interfaces(self) -> tuple[NetworkInterface, ...]:
        """The NICs asked for, with the default one where `networks` was left out."""
        if self.networks is None:
            return (NetworkInterface(name="default", network_name="default"),)
        return self.networks


class ClaimedInterface(Model):
    """Addresses that the operator allocated to a NIC."""

    name: str
    network_name: str
    mac_address: str
    ip_addresses: tuple[str, ...] = ()
    """With prefix length, for example 10.1.1.5/24. Empty: the network's own IPAM decides."""


class ClaimedPool(Model):
    """Storage claimed in one pool."""

    name: str
    size: MeasuredQuantity


class Claim(Model):
    """What a binding takes from its node. Written by the operator together with `nodeName`."""

    id: str
    """Fresh for each binding; the agent's answers name it."""
    epoch: int
    """`leaseTransitions` of the leader's Lease when it decided."""
    cpu: MeasuredQuantity
    memory: MeasuredQuantity
    """The guest's memory and QEMU's overhead."""
    storage: MeasuredQuantity
    pools: Annotated[tuple[ClaimedPool, ...], ListMap(("name",))] = ()
    interfaces: Annotated[tuple[ClaimedInterface, ...], ListMap(("name",))] = ()
    sealed_user_data: str | None = None
    """User-data from a Secret, as a libsodium sealed box to the node's public key, in base64."""
    machine_uid: str | None = Field(default=None, alias="virtualMachineUID")
    """UID of the VirtualMachine that it was decided for, as PersistentVolumes have in their claimRef. On an object with
    another UID (one that was restored from a back-up, status and all) it is worth nothing. None: of an older Berth."""
    adopts: str | None = None
    """UID under which the node knows the guest that goes on as this VM: see `HypervisorRemains`."""


class InterfaceStatus(Model):
    """A NIC as observed on the node."""

    name: str
    network_name: str = ""
    device: str = ""
    """The tap in the node's network namespace."""
    sandbox: str = ""
    """The network namespace that the CNI plugins configured."""
    mac_address: str = ""
    ip_addresses: tuple[str, ...] = ()
    """Without prefix length."""


class DiskStatus(Model):
    """A disk as observed on the node."""

    name: str
    target: str = ""
    capacity: MeasuredQuantity = "0"
    source: str = ""
    digest: str = ""
    """Checksum of the image that the disk was born from."""


class GuestInterfaceStatus(Model):
    """A NIC as the guest sees it."""

    name: str
    mac_address: str = ""
    ip_addresses: tuple[str, ...] = ()
    """With prefix length."""


class GuestInfo(Model):
    """What the guest's agent says of the guest. It is the guest's word: to show, never to rely on."""

    hostname: str = ""
    os_id: str = ""
    """Such as debian."""
    os_name: str = ""
    """Such as Debian GNU/Linux 12 (bookworm)."""
    os_version: str = ""
    kernel_release: str = ""
    interfaces: Annotated[tuple[GuestInterfaceStatus, ...], ListMap(("name",))] = ()


EndReason = Literal["PoweredOff", "Crashed", "Stopped", "ProbeFailed", "NodeRebooted", "Unknown"]
"""How a guest came to its end: it powered itself off; it panicked or its QEMU process died; Berth stopped it because it
was asked to; it failed its liveness probe; its node rebooted; nobody saw it."""


class VirtualMachineStatus(Model):
    """Where the VM was bound and what was observed."""

    node_name: str | None = None
    """The binding."""
    former_uid: Annotated[str | None, Field(alias="formerUID")] = None
    """UID of the object whose status this one was restored with: under it a node may know its guest."""
    former_node_name: str | None = None
    """The node that this object was bound to."""
    claim: Claim | None = None
    admitted_claim: str | None = None
    refused_claim: str | None = None
    released_claim: str | None = None
    stopped_claim: str | None = None
    """The claim whose CPU and memory are free: the guest is off and starts again only under a new claim."""
    phase: Phase | None = None
    interfaces: Annotated[tuple[InterfaceStatus, ...], ListMap(("name",))] = ()
    disks: Annotated[tuple[DiskStatus, ...], ListMap(("name",))] = ()
    domain_uuid: str | None = Field(default=None, alias="domainUUID")
    machine_type: str | None = None
    started_at: datetime | None = None
    """When the guest was last started; nothing once it was halted."""
    ended_at: datetime | None = None
    """When the last guest's end was seen; nothing while one runs."""
    end_reason: EndReason | None = None
    """How the last guest ended."""
    node_boot_id: Annotated[str | None, Field(alias="nodeBootID")] = None
    """Boot ID of the node under which the guest was started."""
    restarted_at: datetime | None = None
    """The `restartedAt` of the spec that the last start has honoured."""
    restart_count: int | None = None
    """Starts of a guest that had ended or was restarted, since the VM was last halted."""
    failure_count: int | None = None
    """Ends in a row that nobody asked for, each less than ten minutes after its start: what the pause before the next
    start grows with."""
    guest: GuestInfo | None = None
    observed_generation: int | None = None
    conditions: Annotated[tuple[Condition, ...], ListMap(("type",))] = ()

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type, if there is one."""
        return next((c for c in self.conditions if c.type == kind), None)


class VirtualMachine(Resource):
    """A virtual machine: the operator gives it a berth on a node, the node's agent runs it."""

    kind: str = "VirtualMachine"
    spec: VirtualMachineSpec
    status: VirtualMachineStatus = Field(default_factory=VirtualMachineStatus)

    @property
    def has_foreign_claim(self) -> bool:
        """Whether the status was restored from a back-up of another object: its claim was decided for another UID."""
        claim = self.status.claim
        return claim is not None and claim.machine_uid not in (None, self.metadata.uid)

    rules = (
        Cel(
            f"size(self.metadata.name) <= 63 && self.metadata.name.matches(r'{DNS_LABEL}')",
            "the name becomes the guest's host name: at most 63 of a-z, 0-9 and '-', without a dot",
        ),
    )
