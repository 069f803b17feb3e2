"""The claims that this node has admitted, held in memory so that two admissions never count the same room.

The truth is on the objects: the ledger is loaded from the API server's complete list before the first admission.
Deciding and noting are one synchronous step, so no other admission comes between.
"""

from collections.abc import Iterable, Mapping

from berth_agent.reconcile.plan.admission import Refusal, admit
from berth_api.allocatable import NOTHING, Amounts
from berth_api.anchors import Size, anchored, total
from berth_api.hypervisors import HypervisorSpec, Overcommit
from berth_api.quantities import to_bytes, to_millis
from berth_api.virtualmachines import Claim, VirtualMachine


class Admissions:
    """Admitted claims by VM UID."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._apart: dict[str, Claim] = {}

    def load(self, vms: Iterable[VirtualMachine]) -> None:
        """Take over the claims that the objects say are admitted."""
        for vm in vms:
            self.note(vm)

    def note(self, vm: VirtualMachine) -> None:
        """Take over the claim of one VM if it is admitted and not released."""
        status, claim = vm.status, vm.status.claim
        if claim is None or claim.id == status.released_claim or vm.has_foreign_claim:
            return
        if claim.id == status.stopped_claim:
            self.rest(vm.metadata.uid, claim)
        elif claim.id == status.admitted_claim:
            self._claims[vm.metadata.uid] = claim
        elif status.admitted_claim is not None and claim.id != status.refused_claim:
            # Its guest may run on a claim that nobody remembers: the new one, still to be admitted, stands for it.
            self._claims[vm.metadata.uid] = claim.model_copy(update={"id": status.admitted_claim})

    def admit(
        self,
        uid: str,
        claim: Claim,
        room: Amounts,
        spec: HypervisorSpec,
        pods: Amounts = NOTHING,
        *,
        current_epoch: int,
    ) -> Refusal | None:
        """Admit the claim, or say why not; `pods` is what the node's Pods request. An admitted claim stays so."""
        refusal = self.refuse(uid, claim, room, spec, pods, current_epoch=current_epoch)
        if refusal is None:
            self._claims[uid] = claim
        return refusal

    def refuse(
        self,
        uid: str,
        claim: Claim,
        room: Amounts,
        spec: HypervisorSpec,
        pods: Amounts = NOTHING,
        *,
        current_epoch: int,
    ) -> Refusal | None:
        """Why the claim would not be admitted now."""
        if self.admitted(uid, claim):
            return None
        return admit(claim, {**self._apart, **self._others(uid)}, room, spec, pods, current_epoch=current_epoch)

    def admitted(self, uid: str, claim: Claim) -> bool:
        """Whether just this claim is admitted."""
        held = self._claims.get(uid)
        return held is not None and held.id == claim.id

    def needed(self, uid: str, claim: Claim, overcommit: Overcommit) -> Size:
        """What the node's anchor has to have for the claim, beside all that are admitted."""
        claims = (claim, *self._others(uid).values())
        return anchored(total(Size(to_millis(each.cpu), to_bytes(each.memory)) for each in claims), overcommit)

    def _others(self, uid: str) -> dict[str, Claim]:
        return {other: held for other, held in self._claims.items() if other != uid}

    def hold(self, uid: str, claim: Claim) -> None:
        """Count the claim of a guest that runs already, whether there is room or not."""
        self._claims[uid] = claim

    def holds(self, uid: str) -> bool:
        """Whether anything is counted for the VM."""
        return uid in self._claims

    def rests(self, uid: str) -> bool:
        """Whether the VM has said that its CPU and memory are free."""
        held = self._claims.get(uid)
        return held is not None and (held.cpu, held.memory) == ("0", "0")

    def rest(self, uid: str, claim: Claim) -> None:
        """Count of the claim all but CPU and memory: its guest is off. Under this claim it does not start again."""
        self._claims[uid] = claim.model_copy(update={"cpu": "0", "memory": "0"})

    def set_apart(self, used: Mapping[str, Claim]) -> None:
        """Count what guests use that no claim of this cluster accounts for, by UID, in place of what was said before.

        They are not part of what the node's anchor has to have: nobody asks the kubelet for them.
        """
        self._apart = dict(used)

    def adopt(self, uid: str) -> None:
        """The guest that was known under this UID has a VM now, whose claim accounts for it."""
        self._apart.pop(uid, None)

    def release(self, uid: str) -> None:
        """Give the VM's room back."""
        self._claims.pop(uid, None)
