"""What one claim takes from its node, as the ledger keeps it and the snapshot counts it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_interface

from berth_api.quantities import to_bytes, to_millis
from berth_api.virtualmachines import ClaimedInterface, VirtualMachine
from berth_operator.scheduling.groups import Member, member_of

Address = IPv4Address | IPv6Address
HoldingKey = tuple[str, str]
"""The VM's UID and the claim's ID."""


@dataclass(frozen=True)
class Holding:
    """What one claim takes: millicores, bytes, addresses, and a place in the groups that its VM belongs to."""

    uid: str
    owner: str
    """`namespace/name` of the VM, for people."""
    claim_id: str
    node: str
    cpu: int
    memory: int
    pools: Mapping[str, int] = field(default_factory=dict)
    interfaces: tuple[ClaimedInterface, ...] = ()
    member: Member = field(default_factory=Member)
    apart: bool = False
    """No claim, but what a node says that others' guests use: it counts on that node only, shared pools or not."""

    @property
    def key(self) -> HoldingKey:
        """What tells it from every other."""
        return self.uid, self.claim_id

    @property
    def addresses(self) -> Iterable[tuple[str, Address]]:
        """Network and address of every IP that it takes."""
        for nic in self.interfaces:
            for text in nic.ip_addresses:
                yield nic.network_name, ip_interface(text).ip

    def covers(self, other: "Holding") -> bool:
        """Whether it takes all that another takes, in the same place and the same groups."""
        return (
            (self.node, self.member) == (other.node, other.member)
            and self.cpu >= other.cpu
            and self.memory >= other.memory
            and all(self.pools.get(name, 0) >= size for name, size in other.pools.items())
            and {nic.mac_address for nic in self.interfaces} >= {nic.mac_address for nic in other.interfaces}
            and set(self.addresses) >= set(other.addresses)
        )


def either(old: Holding, new: Holding) -> Holding:
    """What a VM may hold while the claim `new` is being written instead of `old`, on the same node: enough for both."""
    names = old.pools.keys() | new.pools.keys()
    return replace(
        new,
        cpu=max(old.cpu, new.cpu),
        memory=max(old.memory, new.memory),
        pools={name: max(old.pools.get(name, 0), new.pools.get(name, 0)) for name in sorted(names)},
        interfaces=(*new.interfaces, *(nic for nic in old.interfaces if nic not in new.interfaces)),
    )


def held_by(vm: VirtualMachine) -> Holding | None:
    """What a VM holds by its status; nothing once its node refused the claim, or released it, or by another's claim.

    While the guest is off for good (`stoppedClaim`) it takes no CPU and no memory. All else stays its own.
    """
    claim, status = vm.status.claim, vm.status
    if (
        claim is None
        or not status.node_name
        or vm.has_foreign_claim
        or claim.id in (status.refused_claim, status.released_claim)
    ):
        return None
    stopped = status.stopped_claim == claim.id
    return Holding(
        uid=vm.metadata.uid,
        owner=f"{vm.metadata.namespace}/{vm.metadata.name}",
        claim_id=claim.id,
        node=status.node_name,
        cpu=0 if stopped else to_millis(claim.cpu),
        memory=0 if stopped else to_bytes(claim.memory),
        pools={pool.name: to_bytes(pool.size) for pool in claim.pools},
        interfaces=claim.interfaces,
        member=member_of(vm),
    )
