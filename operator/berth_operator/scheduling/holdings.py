"""What one claim takes from its node, as the ledger keeps it and the snapshot counts it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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


def held_by(vm: VirtualMachine) -> Holding | None:
    """What a VM holds by its status; nothing once its node refused the claim, or released it."""
    claim, status = vm.status.claim, vm.status
    if claim is None or not status.node_name or claim.id in (status.refused_claim, status.released_claim):
        return None
    return Holding(
        uid=vm.metadata.uid,
        owner=f"{vm.metadata.namespace}/{vm.metadata.name}",
        claim_id=claim.id,
        node=status.node_name,
        cpu=to_millis(claim.cpu),
        memory=to_bytes(claim.memory),
        pools={pool.name: to_bytes(pool.size) for pool in claim.pools},
        interfaces=claim.interfaces,
        member=member_of(vm),
    )
