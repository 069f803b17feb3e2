"""Does the claim cover what the spec asks for now?

The claim was made for the spec as it was when the VM was bound. A user may edit the spec afterwards; what the guest
gets at its next start is checked against the claim, or an edit would be a way around capacity, address allocation and
the namespaces that a network allows. Where the claim does not cover the spec the operator makes another one.
"""

from collections import Counter
from ipaddress import ip_interface

from berth_api.overhead import memory_overhead
from berth_api.quantities import from_bytes, to_bytes, to_millis
from berth_api.virtualmachines import Claim, ClaimedInterface, NetworkInterface, VirtualMachine

_ADVICE = "the condition Scheduled says whether the node has room for more; else set it back"


def uncovered(vm: VirtualMachine, claim: Claim, *, cpus: int, memory: int, accelerator: str) -> str | None:
    """What of the spec is beyond the claim and what to do about it, or None.

    Args:
        vm: the object as it is now.
        claim: what it is bound with.
        cpus: virtual CPUs that the spec or its class asks for.
        memory: bytes of the guest, without overhead.
        accelerator: `kvm` or `tcg`, which decides the overhead.
    """
    lacking = uncovered_amounts(vm, claim, cpus=cpus, memory=memory, accelerator=accelerator)
    if lacking is not None:
        return lacking
    seed = vm.spec.cloud_init
    if seed is not None and seed.user_data_secret_ref is not None and claim.sealed_user_data is None:
        return f"cloudInit.userDataSecretRef was added after the VM was bound: {_ADVICE}"
    return _uncovered_interface(vm, claim)


def uncovered_amounts(vm: VirtualMachine, claim: Claim, *, cpus: int, memory: int, accelerator: str) -> str | None:
    """What of the spec's CPU, memory and storage is beyond the claim, or None: arguments as for `uncovered`.

    The operator claims more of these while the guest still runs. NICs it claims anew only once no guest uses them.
    """
    needed = memory + memory_overhead(cpus, memory, accelerator)
    if cpus * 1000 > to_millis(claim.cpu):
        return f"the spec asks for {cpus} CPUs, but {claim.cpu} are claimed: {_ADVICE}"
    if needed > to_bytes(claim.memory):
        return f"the spec needs {from_bytes(needed)} of memory, but {claim.memory} are claimed: {_ADVICE}"
    return _uncovered_storage(vm, claim)


def _uncovered_storage(vm: VirtualMachine, claim: Claim) -> str | None:
    wanted: Counter[str] = Counter()
    for disk in vm.spec.disks:
        if disk.size is not None:
            wanted[disk.pool] += to_bytes(disk.size)
    claimed = {pool.name: to_bytes(pool.size) for pool in claim.pools}
    for pool, size in sorted(wanted.items()):
        if size > claimed.get(pool, 0):
            return (
                f"the disks need {from_bytes(size)} in the storage pool {pool}, "
                f"but {from_bytes(claimed.get(pool, 0))} are claimed: {_ADVICE}"
            )
    return None


def _uncovered_interface(vm: VirtualMachine, claim: Claim) -> str | None:
    claimed = {interface.name: interface for interface in claim.interfaces}
    for nic in vm.spec.interfaces:
        found = claimed.get(nic.name)
        if found is None or not _is_same(nic, found):
            return f"the interface {nic.name} is not, or not so, in the claim: {_ADVICE}"
    return None


def _is_same(nic: NetworkInterface, claimed: ClaimedInterface) -> bool:
    addresses = {ip_interface(address).ip for address in claimed.ip_addresses}
    return (
        nic.network_name == claimed.network_name
        and nic.mac_address in (None, claimed.mac_address)
        and all(ip_interface(address).ip in addresses for address in nic.ip_addresses)
    )
