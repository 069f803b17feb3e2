"""Who holds what: the claims of all VMs, summed per node, and the addresses that they took.

Two sources tell of a claim, and either may be first. A decision *assumes* its claim at once, so that the next decision
counts it although nothing is written yet; what the API server shows *confirms* it, or, when the write failed, the
assumption is settled and gone. A claim that both tell of counts once. The ledger is never the truth: it is rebuilt
from the API alone whenever leadership changes.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TypeVar

from berth_operator.scheduling.holdings import Address, Holding, HoldingKey
from berth_operator.scheduling.snapshot import Snapshot

_T = TypeVar("_T")


class Ledger:
    """All claims, confirmed and assumed, told to a snapshot as they come and go.

    Not safe for threads; between two awaits it is consistent.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._entries: dict[HoldingKey, Holding] = {}
        self._confirmed: dict[str, str] = {}
        self._assumed: dict[str, str] = {}
        self._addresses: dict[str, dict[Address, set[HoldingKey]]] = {}
        self._numbers: dict[str, dict[int, set[int]]] = {}
        self._macs: dict[str, set[HoldingKey]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def holdings(self) -> Iterable[Holding]:
        """Every claim that counts."""
        return self._entries.values()

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
        for holding in self._entries.values():
            self._snapshot.give_back(holding)
        self._entries, self._confirmed, self._assumed = {}, {}, {}
        self._addresses, self._numbers, self._macs = {}, {}, {}
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

    def _owner(self, keys: set[HoldingKey], but: str) -> str | None:
        return min((self._entries[key].owner for key in keys if key[0] != but), default=None)

    def _enter(self, holding: Holding) -> None:
        key = holding.key
        known = self._entries.get(key)
        if known == holding:
            return
        if known is not None:
            self._remove(known)
        self._entries[key] = holding
        self._snapshot.take(holding)
        for nic in holding.interfaces:
            self._macs.setdefault(nic.mac_address, set()).add(key)
        for network, address in holding.addresses:
            self._addresses.setdefault(network, {}).setdefault(address, set()).add(key)
            self._numbers.setdefault(network, {}).setdefault(address.version, set()).add(int(address))

    def _leave(self, uid: str, claim_id: str) -> bool:
        if claim_id in (self._confirmed.get(uid), self._assumed.get(uid)):
            return False
        holding = self._entries.get((uid, claim_id))
        if holding is None:
            return False
        self._remove(holding)
        return True

    def _remove(self, holding: Holding) -> None:
        key = holding.key
        del self._entries[key]
        self._snapshot.give_back(holding)
        for nic in holding.interfaces:
            _discard(self._macs, nic.mac_address, key)
        for network, address in holding.addresses:
            held = self._addresses.get(network, {})
            _discard(held, address, key)
            if address not in held:
                self._numbers[network][address.version].discard(int(address))


def _discard(index: dict[_T, set[HoldingKey]], value: _T, key: HoldingKey) -> None:
    keys = index.get(value)
    if keys is not None:
        keys.discard(key)
        if not keys:
            del index[value]
