"""Which VM asks for which address in its spec: looked up at each decision about a guest that is there already."""

from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import suppress

from berth_api.virtualmachines import VirtualMachine
from berth_operator.scheduling.addresses import plain
from berth_operator.scheduling.holdings import Address
from berth_operator.store import Change, Collection, Key


class Asking:
    """An index of all VMs' specs, which follows them.

    Args:
        machines: All VMs.
    """

    def __init__(self, machines: Collection[VirtualMachine]) -> None:
        self._askers: defaultdict[Hashable, dict[str, Key]] = defaultdict(dict)
        for vm in machines:
            self._add(vm)
        machines.listen(self._follow)

    def __len__(self) -> int:
        return len(self._askers)

    def for_mac(self, mac: str, *, but: str) -> str | None:
        """A VM that asks for this MAC address, as namespace/name.

        Args:
            mac: In lower case.
            but: The UID of the VM that is not meant.
        """
        return self._other(mac, but)

    def for_address(self, network: str, address: Address, *, but: str) -> str | None:
        """A VM that asks for this address of the network, as namespace/name; but for the VM of that UID."""
        return self._other((network, address), but)

    def _other(self, wanted: Hashable, but: str) -> str | None:
        return next(("/".join(key) for uid, key in self._askers.get(wanted, {}).items() if uid != but), None)

    def _follow(self, change: Change[VirtualMachine]) -> None:
        if change.old is not None:
            self._drop(change.old)
        if change.new is not None:
            self._add(change.new)

    def _add(self, vm: VirtualMachine) -> None:
        for wanted in _wanted(vm):
            self._askers[wanted][vm.metadata.uid] = vm.key

    def _drop(self, vm: VirtualMachine) -> None:
        for wanted in _wanted(vm):
            askers = self._askers[wanted]
            askers.pop(vm.metadata.uid, None)
            if not askers:
                del self._askers[wanted]


def _wanted(vm: VirtualMachine) -> Iterator[Hashable]:
    for nic in vm.spec.interfaces:
        if nic.mac_address:
            yield nic.mac_address
        for text in nic.ip_addresses:
            with suppress(ValueError):  # said at its own decision
                yield nic.network_name, plain(text)
