"""MAC and IP addresses of a VM's NICs, chosen so that no two VMs ever hold the same.

A VM that is bound again keeps what its previous claim had, unless another VM holds it by now. One that goes on with a
guest which is there already keeps what that has (`inheriting.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

from berth_api import kinds
from berth_api.hypervisors import RemainingInterface
from berth_api.virtualmachines import ClaimedInterface, NetworkInterface, VirtualMachine
from berth_api.virtualnetworks import Subnet, VirtualNetwork
from berth_operator.controllers.asking import Asking
from berth_operator.controllers.inheriting import Inheriting
from berth_operator.controllers.references import Reference, Unbindable
from berth_operator.scheduling.addresses import AddressError, ExhaustedError, Taken, choose, plain
from berth_operator.scheduling.holdings import Address
from berth_operator.scheduling.ledger import Ledger
from berth_operator.scheduling.macs import ATTEMPTS, generate


class Interfaces:
    """Chooses addresses against the ledger.

    Args:
        ledger: Who holds what.
        mac_prefix: What addresses that are made up begin with.
        shunned: Addresses of a network that guests have which no VM accounts for: given only when no other is left.
        asking: What VMs' specs ask for.
    """

    def __init__(
        self,
        ledger: Ledger,
        mac_prefix: str,
        shunned: Callable[[str], Mapping[int, AbstractSet[int]]],
        asking: Asking,
    ) -> None:
        self._ledger, self._mac_prefix, self._shunned = ledger, mac_prefix, shunned
        self._inheriting = Inheriting(ledger, asking)

    def choose(
        self,
        vm: VirtualMachine,
        networks: Mapping[str, VirtualNetwork],
        kept: Mapping[str, ClaimedInterface] = MappingProxyType({}),
        *,
        inherited: Iterable[RemainingInterface] = (),
    ) -> tuple[ClaimedInterface, ...]:
        """A claimed interface for each NIC.

        Args:
            vm: Whose.
            networks: By name.
            kept: Those that stay as they are, by name; some may be in the spec no longer.
            inherited: NICs of the guest that the VM goes on with.

        Raises:
            Unbindable: an address that the user wants is taken or impossible, or a subnet has none left.
        """
        previous = {nic.name: nic for nic in vm.status.claim.interfaces} if vm.status.claim else {}
        chosen: dict[str, ClaimedInterface] = dict(kept)
        guest = {(had.name, had.network_name): had for had in inherited}
        for nic in vm.spec.interfaces:
            if nic.name in kept:
                continue
            had = guest.get((nic.name, nic.network_name))
            before = previous.get(nic.name) if had is None else None
            others = list(chosen.values())
            chosen[nic.name] = ClaimedInterface(
                name=nic.name,
                network_name=nic.network_name,
                mac_address=self._mac(vm, nic, before, {other.mac_address for other in others}, had=had),
                ip_addresses=self._ips(vm, nic, networks[nic.network_name], before, others, had=had),
            )
        asked = {nic.name: chosen[nic.name] for nic in vm.spec.interfaces}
        return (*asked.values(), *(nic for name, nic in kept.items() if name not in asked))

    def _mac(
        self,
        vm: VirtualMachine,
        nic: NetworkInterface,
        before: ClaimedInterface | None,
        own: set[str],
        *,
        had: RemainingInterface | None,
    ) -> str:
        uid = vm.metadata.uid
        if nic.mac_address is not None:
            owner = self._ledger.mac_owner(nic.mac_address, but=uid)
            if owner is not None:
                raise Unbindable(
                    "MacAddressInUse",
                    f"MAC address {nic.mac_address} of interface {nic.name} is held by VM {owner}: "
                    "give another macAddress, or leave it out",
                    waits_for_room=True,
                )
            return nic.mac_address
        wanted = {other.mac_address for other in vm.spec.interfaces} | own
        if had is not None and had.mac_address not in wanted:
            return self._inheriting.mac(vm, nic, had)
        for mac in self._mac_candidates(uid, nic.name, before):
            if mac not in wanted and self._ledger.mac_owner(mac, but=uid) is None:
                return mac
        raise Unbindable("NoFreeMacAddress", "no free MAC address was found: set macAddress", waits_for_room=True)

    def _mac_candidates(self, uid: str, name: str, before: ClaimedInterface | None) -> Iterator[str]:
        if before is not None:
            yield before.mac_address
        for attempt in range(ATTEMPTS):
            yield generate(self._mac_prefix, uid, name, attempt)

    def _ips(
        self,
        vm: VirtualMachine,
        nic: NetworkInterface,
        network: VirtualNetwork,
        before: ClaimedInterface | None,
        chosen: list[ClaimedInterface],
        *,
        had: RemainingInterface | None,
    ) -> tuple[str, ...]:
        name, subnets = network.metadata.name, network.spec.subnets
        own = {plain(text) for other in chosen if other.network_name == name for text in other.ip_addresses}
        if not nic.ip_addresses and before is not None and self._keeps(vm, before, network, own):
            return before.ip_addresses
        previous = {other.name: other for other in vm.status.claim.interfaces} if vm.status.claim else {}
        coming = _coming(vm, name, previous, but={nic.name, *(other.name for other in chosen)})
        taken = Taken(self._ledger.taken_numbers(name), frozenset({*own, *coming}), frozenset(self._own(vm, name)))
        if had is not None and not nic.ip_addresses:
            return self._inheriting.ips(vm, nic, had, network, taken)
        try:
            addresses = self._choose(subnets, nic.ip_addresses, taken, name)
        except AddressError as error:
            raise Unbindable(
                error.reason,
                str(error),
                waits_for=(Reference(kinds.VIRTUAL_NETWORK, name),),
                waits_for_room=isinstance(error, ExhaustedError),
            ) from error
        for text in addresses:
            self._check_free(vm, nic, name, plain(text), own)
        return addresses

    def _choose(self, subnets: tuple[Subnet, ...], wanted: tuple[str, ...], taken: Taken, name: str) -> tuple[str, ...]:
        """A free one, and if there is one, one that no guest has which nobody accounts for."""
        shunned = self._shunned(name)
        if shunned:
            with suppress(ExhaustedError):
                return choose(subnets, wanted, replace(taken, shunned=shunned), name)
        return choose(subnets, wanted, taken, name)

    def _own(self, vm: VirtualMachine, network: str) -> set[Address]:
        """Addresses that only this VM holds: they are free for it."""
        uid = vm.metadata.uid
        claim = vm.status.claim
        texts = (
            [text for nic in claim.interfaces if nic.network_name == network for text in nic.ip_addresses]
            if claim
            else []
        )
        return {plain(text) for text in texts if self._ledger.address_owner(network, plain(text), but=uid) is None}

    def _keeps(self, vm: VirtualMachine, before: ClaimedInterface, network: VirtualNetwork, own: set[Address]) -> bool:
        name = network.metadata.name
        if before.network_name != name or len(before.ip_addresses) != len(network.spec.subnets):
            return False
        try:
            same = choose(network.spec.subnets, tuple(str(plain(text)) for text in before.ip_addresses), Taken(), name)
        except AddressError:
            return False
        uid = vm.metadata.uid
        return same == before.ip_addresses and all(
            plain(text) not in own and self._ledger.address_owner(name, plain(text), but=uid) is None for text in same
        )

    def _check_free(
        self, vm: VirtualMachine, nic: NetworkInterface, network: str, address: Address, own: set[Address]
    ) -> None:
        owner = self._ledger.address_owner(network, address, but=vm.metadata.uid)
        if address in own:
            owner = "itself, on another interface"
        if owner is not None:
            raise Unbindable(
                "AddressInUse",
                f"address {address} of interface {nic.name} on network {network} is held by VM {owner}: "
                "give another in ipAddresses, or leave it out",
                waits_for_room=True,
            )


def _coming(
    vm: VirtualMachine, network: str, previous: Mapping[str, ClaimedInterface], but: AbstractSet[str]
) -> Iterator[Address]:
    """Addresses of a network that other NICs ask for, or had before and will keep if they can."""
    for nic in vm.spec.interfaces:
        if nic.network_name != network or nic.name in but:
            continue
        before = previous.get(nic.name)
        had = before.ip_addresses if before is not None and before.network_name == network else ()
        yield from map(plain, nic.ip_addresses or had)
