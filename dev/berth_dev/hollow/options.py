"""What hollow nodes are asked to be, and what is to go wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from re import compile as regex

from berth_api.allocatable import Amounts
from berth_api.fields import SYSTEM_NAMESPACE
from berth_api.quantities import QuantityError, to_bytes, to_millis
from berth_dev.errors import DevError

MAX_COUNT = 20_000
_PREFIX = regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_TAINT = regex(r"([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)")


@dataclass(frozen=True)
class Taint:
    """A taint of a Node, as in core/v1."""

    key: str
    value: str
    effect: str

    @classmethod
    def read(cls, text: str) -> "Taint":
        """Read `key=value:Effect` or `key:Effect`, as kubectl writes it.

        Raises:
            DevError: It is neither.
        """
        match = _TAINT.fullmatch(text)
        if match is None:
            raise DevError(f"a taint is key=value:NoSchedule, PreferNoSchedule or NoExecute, not {text!r}")
        return cls(match[1], match[2] or "", match[3])

    def to_api(self) -> dict[str, str]:
        """An item of a Node's `spec.taints`."""
        return {"key": self.key, "value": self.value, "effect": self.effect}


@dataclass(frozen=True)
class Shape:
    """What each node has. Quantities are as Kubernetes writes them.

    Attributes:
        cpu: Of the machine, before overcommit.
        memory: Of the machine, before what is reserved.
        pool_size: Of each storage pool.
        pod_cpu: Requests of the node's Pods.
        pod_memory: Requests of the node's Pods.
        accelerator: `kvm` or `tcg`; guests under tcg cost more memory.
        cpu_models: Names that `cpu.model` may ask for.
        cpu_features: Names that `cpu.features` may ask for.
        machine_types: Names that `machineType` may ask for; the first is what guests are said to run with.
        firmware: Of BIOS, EFI and SecureBoot.
        pools: Names of StoragePools that are ready.
        networks: Names of VirtualNetworks that are ready.
    """

    cpu: str = "32"
    memory: str = "128Gi"
    pool_size: str = "2Ti"
    pod_cpu: str = "0"
    pod_memory: str = "0"
    accelerator: str = "kvm"
    cpu_models: tuple[str, ...] = ("Haswell", "Skylake-Server")
    cpu_features: tuple[str, ...] = ("aes", "avx2", "vmx")
    machine_types: tuple[str, ...] = ("pc-q35-7.2", "q35")
    firmware: tuple[str, ...] = ("BIOS", "EFI", "SecureBoot")
    pools: tuple[str, ...] = ("default",)
    networks: tuple[str, ...] = ("default",)

    def __post_init__(self) -> None:
        try:
            amounts = self.total, self.pods
        except QuantityError as error:
            raise DevError(f"a node cannot have this: {error}") from error
        if min(amounts[0].cpu, amounts[0].memory, *amounts[0].pools.values(), 1) < 1:
            raise DevError("a node has some CPU, some memory and some storage")
        if self.accelerator not in {"kvm", "tcg"}:
            raise DevError(f"the accelerator is kvm or tcg, not {self.accelerator!r}")
        if not self.machine_types:
            raise DevError("a node has at least one machine type")

    @property
    def total(self) -> Amounts:
        """What the node has in all."""
        size = to_bytes(self.pool_size)
        return Amounts(to_millis(self.cpu), to_bytes(self.memory), dict.fromkeys(self.pools, size))

    @property
    def pods(self) -> Amounts:
        """What its Pods request."""
        return Amounts(to_millis(self.pod_cpu), to_bytes(self.pod_memory))


@dataclass(frozen=True)
class Faults:
    """What goes wrong, on purpose. May be replaced while the nodes run.

    Attributes:
        refuse_probability: 0..1: how likely a node is to refuse a VM, whatever room it has. The same node refuses the
            same VM (by namespace and name) each time that it is asked, and in each run with the same seed.
        seed: Of that chance.
        refusing: Nodes that refuse every claim.
        admission_delay: Seconds from a claim's arrival to its answer.
        silent: Nodes whose heartbeat stops.
    """

    refuse_probability: float = 0.0
    seed: int = 0
    refusing: frozenset[str] = frozenset()
    admission_delay: float = 0.0
    silent: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.refuse_probability <= 1:
            raise DevError(f"a probability is from 0 to 1, not {self.refuse_probability:g}")
        if self.admission_delay < 0:
            raise DevError("the delay of admissions is not negative")

    def refuses(self, node: str, vm: tuple[str, str]) -> bool:
        """Whether the node refuses this VM (namespace and name)."""
        if node in self.refusing:
            return True
        if not self.refuse_probability:
            return False
        chance = Random(f"{self.seed} {node} {'/'.join(vm)}").random()  # noqa: S311 - repeatable, not secret
        return chance < self.refuse_probability


@dataclass(frozen=True)
class HollowOptions:
    """How many hollow nodes, of what kind, and how they behave. Times are in seconds.

    Attributes:
        count: How many.
        prefix: Names are `prefix-0001` and so on. Two sets in one cluster need two prefixes.
        zones: The nodes take turns in `zone-1` to `zone-ZONES`.
        shape: What each has.
        labels: Further labels of every Node.
        taints: Of every Node.
        heartbeat_interval: From one renewal of a node's Lease to the next, of all nodes evenly spread.
        heartbeat_valid: How long a Lease says to be good for.
        boot_delay: From a claim's admission to Running.
        namespace: Where the Leases are.
        workers: Calls to the API server that may be under way at once, beside twice as many heartbeats.
        keep: Whether the objects stay in the end.
        faults: What goes wrong from the start.
    """

    count: int = 1000
    prefix: str = "hollow"
    zones: int = 3
    shape: Shape = field(default_factory=Shape)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    heartbeat_interval: float = 10.0
    heartbeat_valid: int = 40
    boot_delay: float = 0.0
    namespace: str = SYSTEM_NAMESPACE
    workers: int = 32
    keep: bool = False
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_COUNT:
            raise DevError(f"there are 1 to {MAX_COUNT} hollow nodes, not {self.count}")
        if not _PREFIX.fullmatch(self.prefix):
            raise DevError(f"the prefix {self.prefix!r} must be 1 to 40 of a-z, 0-9 and -, starting with a letter")
        if self.zones < 1 or self.workers < 1:
            raise DevError("there is at least one zone and one worker")
        if self.heartbeat_interval <= 0 or self.heartbeat_valid <= 0 or self.boot_delay < 0:
            raise DevError("times are positive")
        unknown = (self.faults.refusing | self.faults.silent) - set(self.names)
        if unknown:
            raise DevError(f"there is no hollow node {min(unknown)}; there are {self.names[0]} to {self.names[-1]}")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The nodes' names, in order."""
        return tuple(f"{self.prefix}-{number:04d}" for number in range(1, self.count + 1))

    def zone(self, number: int) -> str:
        """The zone of the node with this index in `names`."""
        return f"zone-{number % self.zones + 1}"
