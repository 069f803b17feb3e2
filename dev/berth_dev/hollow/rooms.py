"""How much of each node is claimed, as sums: an admission costs the same on an empty and on a full node.

The agent's own admission (`berth_agent.reconcile.plan.admission`) adds up the node's claims each time; one process that
plays a thousand agents cannot. Both must answer alike, and a test holds them to it.
"""

from dataclasses import dataclass, field

from berth_api.allocatable import Amounts
from berth_api.quantities import from_bytes, from_millis
from berth_dev.hollow.machines import Claim


@dataclass(frozen=True)
class Refusal:
    """Why a claim is not admitted, in a word and in a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What VMs may take of a node in all, and how many they may be."""

    amounts: Amounts
    slots: int


@dataclass(frozen=True, slots=True)
class _Held:
    node: str
    claim: Claim


@dataclass
class _Sum:
    count: int = 0
    cpu: int = 0
    memory: int = 0
    pools: dict[str, int] = field(default_factory=dict)

    def add(self, claim: Claim, sign: int) -> None:
        self.count += sign
        self.cpu += sign * claim.cpu
        self.memory += sign * claim.memory
        for pool, size in claim.pools.items():
            self.pools[pool] = self.pools.get(pool, 0) + sign * size


class Rooms:
    """Claims by VM UID, summed per node. At most one claim of a VM is held."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._sums: dict[str, _Sum] = {}

    def holds(self, uid: str, claim_id: str) -> bool:
        """Whether this claim of the VM is held."""
        held = self._held.get(uid)
        return held is not None and held.claim.id == claim_id

    def hold(self, node: str, uid: str, claim: Claim) -> None:
        """Hold the claim on the node, instead of whatever the VM held."""
        if self._held.get(uid) == _Held(node, claim):
            return
        self.release(uid)
        self._held[uid] = _Held(node, claim)
        self._sums.setdefault(node, _Sum()).add(claim, 1)

    def release(self, uid: str) -> None:
        """Give back what the VM holds, if it holds anything."""
        held = self._held.pop(uid, None)
        if held is not None:
            self._sums[held.node].add(held.claim, -1)

    def shortage(self, node: str, limits: Limits, claim: Claim, uid: str = "") -> Refusal | None:
        """What the node is short of for a claim beside all that others hold there; None if it has enough.

        The order, words and rounding are those of the agent.
        """
        own = self._held.get(uid)
        if own is None or own.node != node:
            return self._short(node, limits, claim)
        self._sums[node].add(own.claim, -1)
        try:
            return self._short(node, limits, claim)
        finally:
            self._sums[node].add(own.claim, 1)

    def _short(self, node: str, limits: Limits, claim: Claim) -> Refusal | None:
        taken, most = self._sums.get(node) or _Sum(), limits.amounts
        cpu, memory = taken.cpu + claim.cpu - most.cpu, taken.memory + claim.memory - most.memory
        if taken.count >= limits.slots:
            return Refusal("NoFreeSlot", f"the node holds {taken.count} VMs already, and may hold {limits.slots}")
        if cpu > 0:
            return Refusal("InsufficientCPU", f"the node is short of {from_millis(cpu)} CPU")
        if memory > 0:
            return Refusal("InsufficientMemory", f"the node is short of {from_bytes(memory)} of memory")
        for pool, size in claim.pools.items():
            if pool not in most.pools:
                return Refusal("StoragePoolNotReady", f"the storage pool {pool} is not ready on the node")
            short = taken.pools.get(pool, 0) + size - most.pools[pool]
            if short > 0:
                return Refusal("InsufficientStorage", f"the storage pool {pool} is short of {from_bytes(short)}")
        return None
