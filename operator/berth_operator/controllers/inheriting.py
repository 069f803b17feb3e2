"""Addresses that an adopted guest has: its VM keeps them, or waits.

The guest uses them already, whatever anybody decides: with others it would have to change at its next start, and while
it runs somebody else could be given its own. What it has is an agent's word, and counts only for a VM whose owner has
agreed to that (`remains.py`). Even there it gets no more than the choice among addresses that anybody could be given:
none that another VM holds, or asks for in its spec, and none outside a subnet's range.
"""

from ipaddress import ip_address

from berth_api import kinds
from berth_api.hypervisors import RemainingInterface
from berth_api.virtualmachines import NetworkInterface, VirtualMachine
from berth_api.virtualnetworks import Subnet, VirtualNetwork
from berth_operator.controllers.asking import Asking
from berth_operator.controllers.references import Reference, Unbindable
from berth_operator.scheduling.addresses import AddressError, ExhaustedError, Space, Taken, choose
from berth_operator.scheduling.holdings import Address
from berth_operator.scheduling.ledger import Ledger


class Inheriting:
    """Says which of a guest's addresses its VM goes on with.

    Args:
        ledger: Who holds what.
        asking: What VMs' specs ask for is kept for them.
    """

    def __init__(self, ledger: Ledger, asking: Asking) -> None:
        self._ledger, self._asking = ledger, asking

    def mac(self, vm: VirtualMachine, nic: NetworkInterface, had: RemainingInterface) -> str:
        """The MAC address that the guest has there.

        Raises:
            Unbindable: it is another VM's.
        """
        mac, uid = had.mac_address, vm.metadata.uid
        owner = self._ledger.mac_owner(mac, but=uid) or self._asking.for_mac(mac, but=uid)
        if owner is not None:
            raise _in_use("MacAddressInUse", nic, f"MAC address {mac}", owner, "macAddress")
        return mac

    def ips(
        self,
        vm: VirtualMachine,
        nic: NetworkInterface,
        had: RemainingInterface,
        network: VirtualNetwork,
        taken: Taken,
    ) -> tuple[str, ...]:
        """The addresses that the guest has there, with prefix length.

        Of a subnet that does not hand out what the guest has there, and of one that is new, it is a free one.

        Raises:
            Unbindable: one is another VM's, or a subnet has none left.
        """
        name = network.metadata.name
        chosen: list[str] = []
        for subnet in network.spec.subnets:
            fitting = [address for address in _fitting(subnet, had) if address not in taken.kept][:1]
            for address in fitting:
                self._check_free(vm, nic, name, address)
            try:
                chosen += choose((subnet,), tuple(map(str, fitting)), taken, name)
            except AddressError as error:
                raise Unbindable(
                    error.reason,
                    str(error),
                    waits_for=(Reference(kinds.VIRTUAL_NETWORK, name),),
                    waits_for_room=isinstance(error, ExhaustedError),
                ) from error
        return tuple(chosen)

    def _check_free(self, vm: VirtualMachine, nic: NetworkInterface, network: str, address: Address) -> None:
        uid = vm.metadata.uid
        owner = self._ledger.address_owner(network, address, but=uid) or self._asking.for_address(
            network, address, but=uid
        )
        if owner is not None:
            raise _in_use("AddressInUse", nic, f"address {address}", owner, "ipAddresses")


def _fitting(subnet: Subnet, had: RemainingInterface) -> list[Address]:
    space, found = Space.of(subnet), []
    for text in had.ip_addresses:
        try:
            address = ip_address(text)
        except ValueError:  # an agent may say anything
            continue
        if space.gives(address) and any(low <= int(address) <= high for low, high in space.spans()):
            found.append(address)
    return found


def _in_use(reason: str, nic: NetworkInterface, what: str, owner: str, field: str) -> Unbindable:
    return Unbindable(
        reason,
        f"the guest that this VM goes on with has {what} on interface {nic.name}, which VM {owner} holds or asks for: "
        f"take it from that one, or give another in {field}, which the guest has from its next start on",
        waits_for_room=True,
    )
