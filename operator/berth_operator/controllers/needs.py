"""What a VM that is bound needs by its present spec, beside what it has claimed.

More is claimed at once: the guest grows only once it has the claim. Less is claimed only when the node's agent says
that the guest *is* as the spec asks: what a guest still uses must not be given to another. So a claim of a VM that runs
is never less than what its guest may use, and once it is what the spec asks for nothing is left to claim.
"""

from dataclasses import dataclass

from berth_api.hardware import CPU, Memory
from berth_api.overhead import memory_overhead
from berth_api.quantities import to_bytes, to_millis
from berth_api.virtualmachines import Claim, ClaimedInterface, NetworkInterface, VirtualMachine
from berth_operator.scheduling.addresses import plain
from berth_operator.scheduling.requests import storage_by_pool


@dataclass(frozen=True)
class Amounts:
    """Millicores, bytes, and bytes per pool."""

    cpu: int
    memory: int
    pools: dict[str, int]

    def __or__(self, other: "Amounts") -> "Amounts":
        """Enough for both."""
        pools = {
            name: max(self.pools.get(name, 0), other.pools.get(name, 0))
            for name in sorted(self.pools.keys() | other.pools.keys())
        }
        return Amounts(max(self.cpu, other.cpu), max(self.memory, other.memory), pools)


def needed(vm: VirtualMachine, cpu: CPU, memory: Memory, accelerator: str) -> Amounts:
    """What the VM takes of a node with this accelerator: just what a decision would claim."""
    guest = to_bytes(memory.size)
    overhead = memory_overhead(cpu.count, guest, "kvm" if accelerator == "kvm" else "tcg")
    return Amounts(cpu.count * 1000, guest + overhead, storage_by_pool(vm.spec))


def claimed(claim: Claim) -> Amounts:
    """What the claim takes of its node."""
    return Amounts(
        to_millis(claim.cpu), to_bytes(claim.memory), {pool.name: to_bytes(pool.size) for pool in claim.pools}
    )


def wants_sealed(vm: VirtualMachine) -> bool:
    """Whether it takes its user-data from a Secret."""
    return vm.spec.cloud_init is not None and vm.spec.cloud_init.user_data_secret_ref is not None


def satisfies(claimed_nic: ClaimedInterface, nic: NetworkInterface) -> bool:
    """Whether what was claimed for a NIC is what the spec asks for."""
    return (
        claimed_nic.network_name == nic.network_name
        and nic.mac_address in (None, claimed_nic.mac_address)
        and (not nic.ip_addresses or set(map(plain, nic.ip_addresses)) == set(map(plain, claimed_nic.ip_addresses)))
    )


def is_as_asked(vm: VirtualMachine) -> bool:
    """Whether its node's agent says that the guest runs just as the spec asks. Of one of a class it is not believed."""
    status, claim = vm.status, vm.status.claim
    ready, restart = status.condition("Ready"), status.condition("RestartRequired")
    if claim is None or vm.spec.class_name is not None:  # a class made anew changes no generation
        return False
    if status.admitted_claim == claim.id:
        fits = restart is None or restart.status == "False"
    else:  # more was claimed than the node has; the guest has what the spec asks for, and nothing else is said of it
        fits = restart is not None and restart.reason == "ClaimRefused"
    is_ready = ready is not None and ready.status == "True"
    return fits and is_ready and status.observed_generation == vm.metadata.generation


def is_off(vm: VirtualMachine) -> bool:
    """Whether its node's agent, knowing the present spec, says that no guest runs.

    From then on it starts none either before the claim's NICs are those of the spec.
    """
    status = vm.status
    none_runs = status.started_at is None or status.ended_at is not None
    return none_runs and status.observed_generation == vm.metadata.generation


def differs(vm: VirtualMachine, claim: Claim, need: Amounts) -> bool:
    """Whether the VM, which runs or is about to, should have another claim than it has."""
    have, nics = claimed(claim), {nic.name: nic for nic in claim.interfaces}
    added = any(nic.name not in nics for nic in vm.spec.interfaces)
    if have | need != have or added or (wants_sealed(vm) and claim.sealed_user_data is None):
        return True
    swapped = any(not satisfies(nics[nic.name], nic) for nic in vm.spec.interfaces)
    if swapped and is_off(vm):
        return True
    vanished = len(nics) > len(vm.spec.interfaces)
    unsealed = claim.sealed_user_data is not None and not wants_sealed(vm)
    less = (have.cpu, have.memory) != (need.cpu, need.memory)  # a disk's file stays until its VM goes
    return (less or swapped or vanished or unsealed) and is_as_asked(vm)


def kept(vm: VirtualMachine, claim: Claim) -> dict[str, ClaimedInterface]:
    """Claimed NICs that a VM which is not stopped keeps just as they are, by name; others are chosen anew."""
    asked = {nic.name: nic for nic in vm.spec.interfaces}
    if is_as_asked(vm):
        return {nic.name: nic for nic in claim.interfaces if nic.name in asked and satisfies(nic, asked[nic.name])}
    off = is_off(vm)
    return {
        nic.name: nic for nic in claim.interfaces if nic.name not in asked or not off or satisfies(nic, asked[nic.name])
    }
