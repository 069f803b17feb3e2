"""What a VM asks of a node, in the units of the columns. Equal requests are interchangeable: they are one *shape*."""

from dataclasses import dataclass, field, fields
from functools import cached_property
from operator import attrgetter

from berth_api.hardware import CPU, Memory
from berth_api.overhead import memory_overhead
from berth_api.quantities import to_bytes
from berth_api.selectors import Toleration, TopologySpreadConstraint
from berth_api.virtualmachines import VirtualMachine, VirtualMachineSpec
from berth_operator.scheduling.groups import Member, Spread, member_of, own_group
from berth_operator.scheduling.selectors import Labels, NodeTerm, Selector, labels_of

ANY_CPU_MODEL = frozenset({"", "host-model", "host-passthrough", "maximum"})
"""CPU models that every node has, whatever it lists."""


@dataclass(frozen=True)
class Tolerance:
    """A toleration, hashable. Empty key or effect: any."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True)
class Requirements:
    """What only the nodes themselves decide, whoever is on them: asked once per distinct value and kept."""

    node_name: str = ""
    node_selector: Labels = ()
    node_affinity: tuple[NodeTerm, ...] | None = None
    preferred_nodes: tuple[tuple[int, NodeTerm], ...] = ()
    tolerations: tuple[Tolerance, ...] = ()
    networks: frozenset[str] = frozenset()
    cpu_model: str = ""
    cpu_features: frozenset[str] = frozenset()
    machine_type: str = ""
    firmware: frozenset[str] = frozenset()
    """Beside BIOS: EFI, SecureBoot."""
    images: frozenset[str] = frozenset()
    """Digests of the images that its disks are born from."""
    volume_nodes: tuple[frozenset[str], ...] = ()
    """For each node-local volume, the nodes that have it."""
    sealed: bool = False
    """Something must be sealed to the node's public key."""

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(_REQUIRED(self))


_REQUIRED = attrgetter(*(each.name for each in fields(Requirements)))


@dataclass(frozen=True)
class Claimant:
    """Who asks: of no weight for which nodes are feasible, apart from room that is kept for others."""

    uid: str = ""
    key: tuple[str, str] = ("", "")
    """Namespace and name."""
    priority: int = 0
    created: float = 0.0
    """Seconds since the epoch."""

    @property
    def order(self) -> tuple[int, float, tuple[str, str]]:
        """Who comes first has the lower: the queue's order."""
        return -self.priority, self.created, self.key


@dataclass(frozen=True)
class Request:
    """A VM's wishes. CPU in millicores; memory in bytes, QEMU's overhead under kvm and tcg included; pools in bytes."""

    cpu: int
    memory_kvm: int
    memory_tcg: int
    pools: tuple[tuple[str, int], ...] = ()
    requirements: Requirements = Requirements()
    member: Member = field(default_factory=Member)
    spread: tuple[Spread, ...] = ()
    """DoNotSchedule."""
    soft_spread: tuple[Spread, ...] = ()
    """ScheduleAnyway."""
    profile: str = "default"
    excluded: frozenset[str] = frozenset()
    """Nodes that refused this VM lately."""
    claimant: Claimant = field(default=Claimant(), compare=False)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(_ASKED(self))

    @property
    def storage(self) -> int:
        """Bytes in all pools together."""
        return sum(size for _, size in self.pools)


_ASKED = attrgetter(*(each.name for each in fields(Request) if each.compare))


def storage_by_pool(spec: VirtualMachineSpec) -> dict[str, int]:
    """Bytes that the VM's own disks need, per pool."""
    pools: dict[str, int] = {}
    for disk in spec.disks:
        if disk.size is not None:
            pools[disk.pool] = pools.get(disk.pool, 0) + to_bytes(disk.size)
    return pools


def request_of(
    vm: VirtualMachine,
    cpu: CPU,
    memory: Memory,
    *,
    priority: int = 0,
    images: frozenset[str] = frozenset(),
    excluded: frozenset[str] = frozenset(),
) -> Request:
    """What a VM with this CPU and memory (its class's or its own) asks for."""
    guest, spec, made = to_bytes(memory.size), vm.spec, vm.metadata.creation_timestamp
    member = member_of(vm)
    return Request(
        cpu=cpu.count * 1000,
        memory_kvm=guest + memory_overhead(cpu.count, guest, "kvm"),
        memory_tcg=guest + memory_overhead(cpu.count, guest, "tcg"),
        pools=tuple(sorted(storage_by_pool(spec).items())),
        requirements=_requirements(vm, cpu, images),
        member=member,
        spread=_spread(spec.topology_spread_constraints, "DoNotSchedule", member.namespace),
        soft_spread=_spread(spec.topology_spread_constraints, "ScheduleAnyway", member.namespace),
        profile=spec.scheduler_profile or "default",
        excluded=excluded,
        claimant=Claimant(vm.metadata.uid, vm.key, priority, made.timestamp() if made is not None else 0.0),
    )


def _requirements(vm: VirtualMachine, cpu: CPU, images: frozenset[str]) -> Requirements:
    spec = vm.spec
    affinity = spec.affinity.node_affinity if spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    preferred = affinity.preferred_during_scheduling_ignored_during_execution if affinity else ()
    return Requirements(
        node_name=spec.node_name or "",
        node_selector=labels_of(spec.node_selector),
        node_affinity=tuple(map(NodeTerm.of, required.node_selector_terms)) if required else None,
        preferred_nodes=tuple((each.weight, NodeTerm.of(each.preference)) for each in preferred),
        tolerations=tuple(map(_tolerance, spec.tolerations)),
        networks=frozenset(nic.network_name for nic in spec.interfaces),
        cpu_model=cpu.model or "",
        cpu_features=frozenset(cpu.features),
        machine_type=_machine_type(vm),
        firmware=_firmware(spec),
        images=images,
        sealed=spec.cloud_init is not None and spec.cloud_init.user_data_secret_ref is not None,
    )


def _machine_type(vm: VirtualMachine) -> str:
    """A guest that has run keeps the machine type that it got for `q35`, wherever it starts next."""
    named = vm.spec.machine_type or ""
    return (vm.status.machine_type or named) if named in ("", "q35") else named


def _firmware(spec: VirtualMachineSpec) -> frozenset[str]:
    if spec.firmware.type != "EFI":
        return frozenset()
    return frozenset({"EFI", "SecureBoot"} if spec.firmware.secure_boot else {"EFI"})


def _tolerance(toleration: Toleration) -> Tolerance:
    return Tolerance(toleration.key, toleration.operator, toleration.value, toleration.effect)


def _spread(constraints: tuple[TopologySpreadConstraint, ...], when: str, namespace: str) -> tuple[Spread, ...]:
    return tuple(
        Spread(
            own_group(Selector.of(each.label_selector) if each.label_selector is not None else None, namespace),
            each.topology_key,
            each.max_skew,
            each.min_domains or 1,
        )
        for each in constraints
        if each.when_unsatisfiable == when
    )
