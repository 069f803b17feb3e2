"""Who holds what: the claims of all VMs, summed per node, and the addresses that they took.

Two sources tell of a claim, and either may be first. A decision *assumes* its claim at once, so that the next decision
counts it although nothing is written yet; what the API server shows *confirms* it, or, when the write failed, the
assumption is settled and gone. A claim that both tell of counts once. The ledger is never the truth: it is rebuilt
from the API alone whenever leadership changes.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_interface
from typing import TypeVar

import numpy as np

from berth_api.quantities import to_bytes, to_millis
from berth_api.virtualmachines import ClaimedInterface, VirtualMachine
from berth_operator.scheduling.nodes import Nodes
from berth_operator.scheduling.snapshot import Usage

Address = IPv4Address | IPv6Address
_Key = tuple[str, str]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Holding:
    """What one claim takes: millicores, bytes, addresses."""

    uid: str
    owner: str
    """`namespace/name` of the VM, for people."""
    claim_id: str
    node: str
    cpu: int
    memory: int
    pools: Mapping[str, int] = field(default_factory=dict)
    interfaces: tuple[ClaimedInterface, ...] = ()

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
    )


class Ledger:
    """All claims, confirmed and assumed. Not safe for threads; between two awaits it is consistent."""

    def __init__(self) -> None:
        self._entries: dict[_Key, Holding] = {}
        self._confirmed: dict[str, str] = {}
        self._assumed: dict[str, str] = {}
        self._addresses: dict[str, dict[Address, set[_Key]]] = {}
        self._numbers: dict[str, dict[int, set[int]]] = {}
        self._macs: dict[str, set[_Key]] = {}
        self._nodes = Nodes.of(())
        self._usage = Usage.none(self._nodes)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def holdings(self) -> Iterable[Holding]:
        """Every claim that counts."""
        return self._entries.values()

    @property
    def usage(self) -> Usage:
        """What is held, in the rows of the nodes last given to `reindex`. Read it before the next change."""
        return self._usage

    def reindex(self, nodes: Nodes) -> None:
        """Sum anew for other rows."""
        self._nodes, self._usage = nodes, Usage.none(nodes)
        for holding in self._entries.values():
            self._count(holding, 1)

    def assume(self, holding: Holding) -> None:
        """Count a claim that was decided and is being written."""
        self.settle(holding.uid)
        self._assumed[holding.uid] = holding.claim_id
        self._enter(holding)

    def assumed(self, uid: str) -> str | None:
        """Id of the claim that is assumed for a VM."""
        return self._assumed.get(uid)

    def settle(self, uid: str) -> bool:
        """The write's outcome is known and observed: the assumption ends. True if that freed anything."""
        claim_id = self._assumed.pop(uid, None)
        return claim_id is not None and self._leave(uid, claim_id)

    def observe(self, uid: str, holding: Holding | None) -> bool:
        """What the API server shows a VM to hold. True if that freed anything."""
        before = self._confirmed.pop(uid, None)
        if holding is not None:
            self._confirmed[uid] = holding.claim_id
            self._enter(holding)
        return before is not None and self._leave(uid, before)

    def rebuild(self, holdings: Iterable[Holding]) -> None:
        """Forget all, assumptions too, and count only these."""
        self._entries, self._confirmed, self._assumed = {}, {}, {}
        self._addresses, self._numbers, self._macs = {}, {}, {}
        self._usage = Usage.none(self._nodes)
        for holding in holdings:
            self.observe(holding.uid, holding)

    def taken(self, network: str) -> Mapping[Address, object]:
        """Addresses of the network that are held."""
        return self._addresses.get(network, {})

    def taken_numbers(self, network: str) -> Mapping[int, AbstractSet[int]]:
        """The same as integers, per IP version."""
        return self._numbers.get(network, {})

    def address_owner(self, network: str, address: Address, but: str) -> str | None:
        """The VM that holds an address, other than the VM with uid `but`."""
        return self._owner(self._addresses.get(network, {}).get(address, set()), but)

    def mac_owner(self, mac: str, but: str) -> str | None:
        """The VM that holds a MAC address, other than the VM with uid `but`."""
        return self._owner(self._macs.get(mac, set()), but)

    def _owner(self, keys: set[_Key], but: str) -> str | None:
        return min((self._entries[key].owner for key in keys if key[0] != but), default=None)

    def _enter(self, holding: Holding) -> None:
        key = (holding.uid, holding.claim_id)
        if key in self._entries:
            return
        self._entries[key] = holding
        self._count(holding, 1)
        for nic in holding.interfaces:
            self._macs.setdefault(nic.mac_address, set()).add(key)
        for network, address in holding.addresses:
            self._addresses.setdefault(network, {}).setdefault(address, set()).add(key)
            self._numbers.setdefault(network, {}).setdefault(address.version, set()).add(int(address))

    def _leave(self, uid: str, claim_id: str) -> bool:
        if claim_id in (self._confirmed.get(uid), self._assumed.get(uid)):
            return False
        key = (uid, claim_id)
        holding = self._entries.pop(key, None)
        if holding is None:
            return False
        self._count(holding, -1)
        for nic in holding.interfaces:
            _discard(self._macs, nic.mac_address, key)
        for network, address in holding.addresses:
            held = self._addresses.get(network, {})
            _discard(held, address, key)
            if address not in held:
                self._numbers[network][address.version].discard(int(address))
        return True

    def _count(self, holding: Holding, sign: int) -> None:
        row = self._nodes.index.get(holding.node)
        if row is None:
            self._count_lost_shared(holding, sign)
            return
        self._usage.cpu[row] += sign * holding.cpu
        self._usage.memory[row] += sign * holding.memory
        for pool, size in holding.pools.items():
            if pool in self._usage.pools:
                self._usage.pools[pool][row] += sign * size

    def _count_lost_shared(self, holding: Holding, sign: int) -> None:
        """Disks on a shared pool take space there although their node is gone: count them in any row."""
        for pool in self._nodes.shared_pools.intersection(holding.pools, self._usage.pools):
            np.add.at(self._usage.pools[pool], [0], sign * holding.pools[pool])


def _discard(index: dict[_T, set[_Key]], value: _T, key: _Key) -> None:
    keys = index.get(value)
    if keys is not None:
        keys.discard(key)
        if not keys:
            del index[value]
