"""Who holds what: the claims of all VMs, summed per node, and the addresses that they took.

Two sources tell of a claim, and either may be first. A decision *assumes* its claim at once, so that the next decision
counts it although nothing is written yet; what the API server shows *confirms* it, or, when the write failed, the
assumption is settled and gone. A claim that both tell of counts once, as the API server shows it. A claim that is
assumed in place of another on the same node (a VM that starts again, or is resized) counts together with that one as
the larger of the two, not as two VMs. The ledger is never the truth: it is rebuilt from the API alone whenever
leadership changes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import TypeVar

from berth_operator.scheduling.holdings import Address, Holding, HoldingKey, either
from berth_operator.scheduling.snapshot import Snapshot

_T = TypeVar("_T")


class Ledger:
    """All claims, confirmed and assumed, told to a snapshot as they come and go.

    Not safe for threads; between two awaits it is consistent.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._told: Callable[[str], None] = lambda _node: None
        self._entries: dict[HoldingKey, Holding] = {}
        self._counted: dict[str, tuple[Holding, ...]] = {}
        self._confirmed: dict[str, Holding] = {}
        self._assumed: dict[str, Holding] = {}
        self._addresses: dict[str, dict[Address, set[HoldingKey]]] = {}
        self._numbers: dict[str, dict[int, set[int]]] = {}
        self._macs: dict[str, set[HoldingKey]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def holdings(self) -> Iterable[Holding]:
        """Every claim that counts."""
        return self._entries.values()

    @property
    def nodes(self) -> list[str]:
        """Names of nodes on which anything is held."""
        return self._snapshot.holders

    def held_on(self, node: str) -> Iterable[Holding]:
        """Every claim that counts on a node."""
        return self._snapshot.held_on(node)

    def tell(self, told: Callable[[str], None]) -> None:
        """Call `told` with the node's name whenever what is claimed on it changes."""
        self._told = told

    def assume(self, holding: Holding) -> None:
        """Count a claim that was decided and is being written."""
        self._assumed[holding.uid] = holding
        self._count(holding.uid)

    def assumed(self, uid: str) -> str | None:
        """Id of the claim that is assumed for a VM."""
        holding = self._assumed.get(uid)
        return holding.claim_id if holding is not None else None

    def settle(self, uid: str) -> bool:
        """The write's outcome is known and observed: the assumption ends. True if that freed anything."""
        return self._assumed.pop(uid, None) is not None and self._count(uid)

    def observe(self, uid: str, holding: Holding | None) -> bool:
        """What the API server shows a VM to hold. True if that freed anything: the claim, or a part of it."""
        if self._confirmed.get(uid) == holding:
            return False
        if holding is None:
            del self._confirmed[uid]
        else:
            self._confirmed[uid] = holding
        return self._count(uid)

    @contextmanager
    def without(self, uid: str) -> Iterator[None]:
        """Decide about a VM that holds something as if it held nothing. Not to be awaited in."""
        with self._snapshot.without(self._counted.get(uid, ())):
            yield

    def rebuild(self, holdings: Iterable[Holding]) -> None:
        """Forget all, assumptions too, and count only these."""
        for holding in self._entries.values():
            self._snapshot.give_back(holding)
        self._entries, self._counted, self._confirmed, self._assumed = {}, {}, {}, {}
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

    def _count(self, uid: str) -> bool:
        """Count what a VM holds by both sources. True if it held anything before that it does not hold now."""
        before, after = self._counted.get(uid, ()), self._holdings_of(uid)
        for holding in before:
            if holding not in after:
                self._remove(holding)
        for holding in after:
            if holding not in before:
                self._enter(holding)
        if after:
            self._counted[uid] = after
        else:
            self._counted.pop(uid, None)
        return not all(any(now.covers(then) for now in after) for then in before)

    def _holdings_of(self, uid: str) -> tuple[Holding, ...]:
        confirmed, assumed = self._confirmed.get(uid), self._assumed.get(uid)
        if confirmed is None or assumed is None:
            return tuple(holding for holding in (confirmed, assumed) if holding is not None)
        if confirmed.claim_id == assumed.claim_id:
            return (confirmed,)
        return (either(confirmed, assumed),) if confirmed.node == assumed.node else (confirmed, assumed)

    def _enter(self, holding: Holding) -> None:
        key = holding.key
        self._entries[key] = holding
        self._snapshot.take(holding)
        self._told(holding.node)
        for nic in holding.interfaces:
            self._macs.setdefault(nic.mac_address, set()).add(key)
        for network, address in holding.addresses:
            self._addresses.setdefault(network, {}).setdefault(address, set()).add(key)
            self._numbers.setdefault(network, {}).setdefault(address.version, set()).add(int(address))

    def _remove(self, holding: Holding) -> None:
        key = holding.key
        del self._entries[key]
        self._snapshot.give_back(holding)
        self._told(holding.node)
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
