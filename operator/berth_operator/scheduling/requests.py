"""What a VM asks of a node, in the units of the columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from berth_api.hardware import CPU, Memory
from berth_api.overhead import memory_overhead
from berth_api.quantities import to_bytes
from berth_api.selectors import NodeSelector, Toleration
from berth_api.virtualmachines import VirtualMachineSpec

ACCELERATORS = ("kvm", "tcg")
ANY_CPU_MODEL = frozenset({"", "host-model", "host-passthrough", "maximum"})
"""CPU models that every node has, whatever it lists."""


@dataclass(frozen=True)
class Request:
    """A VM's wishes. CPU in millicores, memory in bytes by accelerator (QEMU's overhead differs), pools in bytes."""

    cpu: int
    memory: Mapping[str, int]
    pools: Mapping[str, int] = field(default_factory=dict)
    node_name: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    node_affinity: NodeSelector | None = None
    tolerations: tuple[Toleration, ...] = ()
    networks: frozenset[str] = frozenset()
    cpu_model: str = ""
    excluded: frozenset[str] = frozenset()
    """Nodes that refused this VM lately."""
    sealed: bool = False
    """Something must be sealed to the node's public key."""

    @property
    def storage(self) -> int:
        """Bytes in all pools together."""
        return sum(self.pools.values())


def storage_by_pool(spec: VirtualMachineSpec) -> dict[str, int]:
    """Bytes that the VM's own disks need, per pool."""
    pools: dict[str, int] = {}
    for disk in spec.disks:
        if disk.size is not None:
            pools[disk.pool] = pools.get(disk.pool, 0) + to_bytes(disk.size)
    return pools


def request_of(spec: VirtualMachineSpec, cpu: CPU, memory: Memory, excluded: frozenset[str] = frozenset()) -> Request:
    """What a VM with this CPU and memory (its class's or its own) asks for."""
    guest = to_bytes(memory.size)
    affinity = spec.affinity.node_affinity if spec.affinity else None
    return Request(
        cpu=cpu.count * 1000,
        memory={kind: guest + memory_overhead(cpu.count, guest, kind) for kind in ACCELERATORS},
        pools=storage_by_pool(spec),
        node_name=spec.node_name or "",
        node_selector=spec.node_selector,
        node_affinity=affinity.required_during_scheduling_ignored_during_execution if affinity else None,
        tolerations=spec.tolerations,
        networks=frozenset(nic.network_name for nic in spec.interfaces),
        cpu_model=cpu.model or "",
        excluded=excluded,
        sealed=spec.cloud_init is not None and spec.cloud_init.user_data_secret_ref is not None,
    )
