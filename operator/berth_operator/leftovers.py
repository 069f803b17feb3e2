"""What nodes hold of another cluster, as the operator remembers it: guests, their room, their addresses.

A node tells it once, in the status of its Hypervisor, and that can be deleted or made anew while the guests run on. So
what was told last counts for as long as there is the Node, or the Hypervisor, until the new one has told. See decision
0012. Each amount is an agent's word and may be anything: it is bounded so that no sum overflows.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from ipaddress import ip_address

from berth_api.hypervisors import Hypervisor, HypervisorRemains
from berth_api.quantities import to_bytes, to_millis
from berth_operator.cluster import Cluster
from berth_operator.objects import Node
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.snapshot import Snapshot
from berth_operator.store import Change, Key

_REMAINS = "remains"
"""Stands for a claim's id where a guest has none."""
MOST = 2**53
"""Millicores or bytes that one guest is said to take: more is cut off. A report names 500, whose sum fits an int64."""
MOST_ADDRESSES = 1000
"""Addresses of one network that count of one node: 500 guests have one or two each."""
Number = tuple[str, int, int]
"""Network, IP version and address."""


def _has_told(hypervisor: Hypervisor | None) -> bool:
    """Whether its agent has said what is left there of other clusters, be it nothing."""
    return hypervisor is not None and "remains" in hypervisor.status.model_fields_set


def holding_of(node: str, guest: HypervisorRemains) -> Holding:
    """What a guest that no object accounts for takes of its node: no VM is given its room."""
    return Holding(
        uid=guest.uid,
        owner=f"{guest.namespace}/{guest.name}",
        claim_id=_REMAINS,
        node=node,
        cpu=min(to_millis(guest.cpu), MOST),
        memory=min(to_bytes(guest.memory), MOST),
        pools={pool.name: min(to_bytes(pool.size), MOST) for pool in guest.pools},
        apart=True,
    )


def _addresses_of(guests: Iterable[HypervisorRemains]) -> Iterator[Number]:
    """The addresses that guests of one node have, up to so many; what is none is left out."""
    found: Counter[str] = Counter()
    for nic in (nic for guest in guests for nic in guest.interfaces):
        for text in nic.ip_addresses:
            with suppress(ValueError):
                address = ip_address(text)
                found[nic.network_name] += 1
                if found[nic.network_name] <= MOST_ADDRESSES:
                    yield nic.network_name, address.version, int(address)


class Leftovers:
    """Follows Nodes and Hypervisors, and has the snapshot count what is left there."""

    def __init__(self, cluster: Cluster, snapshot: Snapshot) -> None:
        self._cluster, self._snapshot = cluster, snapshot
        self._told: dict[str, tuple[HypervisorRemains, ...]] = {}
        self._holders: dict[Key, dict[tuple[str, str], HypervisorRemains]] = {}
        self._addresses: Counter[Number] = Counter()
        self._shunned: dict[str, dict[int, set[int]]] = {}
        self._owing: set[str] = set()

    def of(self, key: Key) -> list[tuple[str, HypervisorRemains]]:
        """Nodes that hold a guest of this namespace and name, and what they say of it."""
        return [(node, guest) for (node, _), guest in sorted(self._holders.get(key, {}).items())]

    def owes_report(self, node: str) -> bool:
        """Whether a node of this cluster has not said yet what it holds of another's."""
        return self._cluster.nodes.get(node) is not None and not _has_told(self._cluster.hypervisors.get(node))

    @property
    def owing(self) -> AbstractSet[str]:
        """Nodes that have an agent, by their Hypervisor, which has not said yet what they hold of another cluster."""
        return self._owing

    def shunned(self, network: str) -> Mapping[int, AbstractSet[int]]:
        """Addresses of a network that such guests have, as integers, per IP version."""
        return self._shunned.get(network, {})

    @contextmanager
    def vacated(self, node: str | None, uid: str | None) -> Iterator[None]:
        """Decide about the VM that goes on as a guest which remains as if that held nothing. Not to be awaited in."""
        own = [holding for holding in self._snapshot.held_on(node or "") if holding.key == (uid, _REMAINS)]
        with self._snapshot.without(own):
            yield

    def on_hypervisor(self, change: Change[Hypervisor]) -> bool:
        """Follow it; True if there is news of what is left."""
        told = _has_told(change.old) != _has_told(change.new)
        return self._follow(change.key[1]) or told

    def on_node(self, change: Change[Node]) -> bool:
        """Follow it; True if there is news of what is left, or of who is waited for."""
        came_or_went = (change.old is None) != (change.new is None)
        return self._follow(change.key[1]) or came_or_went

    def _follow(self, name: str) -> bool:
        hypervisor, exists = self._cluster.hypervisors.get(name), self._cluster.nodes.get(name) is not None
        told = _has_told(hypervisor)
        if hypervisor is not None and exists and not told:
            self._owing.add(name)
        else:
            self._owing.discard(name)
        before = self._told.get(name, ())
        after = before if exists else ()
        if hypervisor is not None and told:
            after = hypervisor.status.remains
        if before == after:
            return False
        self._forget(name, before)
        self._note(name, after)
        return True

    def _forget(self, node: str, guests: tuple[HypervisorRemains, ...]) -> None:
        self._told.pop(node, None)
        for guest in guests:
            key = guest.namespace, guest.name
            holders = self._holders.get(key, {})
            holders.pop((node, guest.uid), None)
            if not holders:
                self._holders.pop(key, None)
            self._snapshot.give_back(holding_of(node, guest))
        for number in _addresses_of(guests):
            network, version, address = number
            self._addresses[number] -= 1
            if not self._addresses[number]:
                del self._addresses[number]
                self._shunned[network][version].discard(address)

    def _note(self, node: str, guests: tuple[HypervisorRemains, ...]) -> None:
        if guests:
            self._told[node] = guests
        for guest in guests:
            self._holders.setdefault((guest.namespace, guest.name), {})[(node, guest.uid)] = guest
            self._snapshot.take(holding_of(node, guest))
        for number in _addresses_of(guests):
            network, version, address = number
            self._addresses[number] += 1
            self._shunned.setdefault(network, {}).setdefault(version, set()).add(address)
