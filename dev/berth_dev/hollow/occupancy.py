"""Who is on the nodes: what was bound to each, what each has admitted, and whether a binding went beyond its room.

Two ledgers. *Admitted* claims are what a node checks the next one against, as its agent would. *Offered* claims are all
that the operator has bound and that were neither refused nor released, in the order in which the API server made it
known: one that does not fit in there is the operator's fault, whatever the node then answers. One watch tells of
all VMs, so a release is always seen before the binding that relies on it. Only a list has no such order: while one is
taken in nothing is judged, and afterwards all of it is. What a node has to offer is known from another watch: where an
administrator changes it while VMs are bound, a binding may be judged by what was before.
"""

from collections.abc import Callable, Mapping
from typing import Any

from berth_api.client import ObjectList
from berth_api.kinds import VIRTUAL_MACHINE
from berth_dev.hollow.machines import Claim, Key, Machine
from berth_dev.hollow.reports import Report, Violation
from berth_dev.hollow.rooms import Limits, Refusal, Rooms
from berth_operator.store import Change, Collection


class Occupancy:
    """The sink of the watch of VirtualMachines.

    Attributes:
        limits: What may be claimed of each node that is played here.
        epoch: `leaseTransitions` of the operator's Lease: older claims are not taken, and nobody's fault.
    """

    def __init__(self, limits: dict[str, Limits], report: Report, on_change: Callable[[Key], None]) -> None:
        self.limits, self.epoch = limits, 0
        self._report, self._on_change = report, on_change
        self._machines = Collection(VIRTUAL_MACHINE, Machine.read)
        self._machines.listen(self._follow)
        self._admitted, self._offered = Rooms(), Rooms()
        self._is_listing = False
        self._unjudged: list[Key] = []

    def get(self, key: Key) -> Machine | None:
        """The VM, where it is bound to one of the nodes."""
        namespace, name = key
        vm = self._machines.get(name, namespace)
        return vm if vm is not None and vm.node in self.limits else None

    def upsert(self, body: Mapping[str, Any]) -> None:
        """Take in a VM, from the watch or as the answer to a write."""
        self._machines.upsert(body)

    def remove(self, body: Mapping[str, Any]) -> None:
        """Take in that a VM is gone."""
        self._machines.remove(body)

    def begin_list(self) -> None:
        """What comes now, until `replace`, is in no order."""
        self._is_listing = True

    def replace(self, listed: ObjectList) -> None:
        """Take in all VMs there are."""
        self._machines.replace(listed)
        self._is_listing = False
        for key in self._unjudged:
            vm = self.get(key)
            if vm is not None and vm.holding is not None:
                self._take_offer(vm, vm.holding)
        self._unjudged.clear()

    def admit(self, vm: Machine, claim: Claim) -> Refusal | None:
        """Admit the claim, or say why not; what is admitted stays so. Counted before it is written."""
        if self._admitted.holds(vm.uid, claim.id):
            return None
        if claim.epoch < self.epoch:
            return Refusal(
                "StaleEpoch",
                f"the claim was decided in epoch {claim.epoch}, but the operator's Lease is at {self.epoch}",
            )
        refusal = self._admitted.shortage(vm.node, self.limits[vm.node], claim, vm.uid)
        if refusal is None:
            self._admitted.hold(vm.node, vm.uid, claim)
        return refusal

    def _follow(self, change: Change[Machine]) -> None:
        vm = change.new or change.old
        if vm is None:
            return
        claim = change.new.holding if change.new is not None and change.new.node in self.limits else None
        if claim is None or not self._offered.holds(vm.uid, claim.id):
            self._offered.release(vm.uid)
        if claim is None or not vm.admitted:
            self._admitted.release(vm.uid)
        if claim is not None:
            if vm.is_admitted:
                self._admitted.hold(vm.node, vm.uid, claim)
            self._take_offer(vm, claim)
        self._on_change(change.key)

    def _take_offer(self, vm: Machine, claim: Claim) -> None:
        if self._offered.holds(vm.uid, claim.id):
            self._offered.hold(vm.node, vm.uid, claim)
            return
        if claim.epoch < self.epoch and not vm.is_admitted:
            return
        if self._is_listing:
            self._unjudged.append(vm.key)
            return
        self._report.offered += 1
        short = self._offered.shortage(vm.node, self.limits[vm.node], claim)
        if short is not None:
            self._report.note_violation(Violation(vm.node, "/".join(vm.key), claim.id, short.reason, short.message))
        self._offered.hold(vm.node, vm.uid, claim)
