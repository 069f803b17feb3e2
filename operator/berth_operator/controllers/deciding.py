"""From a VM to a node and a claim: references, a request, a place, addresses. No await, no write.

What is looked at and what is counted belong to one moment: the claim that comes of a decision is assumed before
anything else can happen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from uuid import uuid4

from berth_api import kinds
from berth_api.quantities import from_bytes, from_millis
from berth_api.virtualmachines import Claim, ClaimedInterface, ClaimedPool, VirtualMachine
from berth_operator.cluster import Cluster
from berth_operator.controllers.aims import Aim, is_bound
from berth_operator.controllers.interfaces import Interfaces
from berth_operator.controllers.needs import Amounts, claimed, is_as_asked, kept, wants_sealed
from berth_operator.controllers.references import Reference, Resolved, Unbindable, resolve
from berth_operator.controllers.refusals import Refusals
from berth_operator.controllers.remains import Holder, awaited_by, holder_of
from berth_operator.controllers.unsupported import unsupported
from berth_operator.inventory import Inventory
from berth_operator.scheduling.holdings import Holding, held_by
from berth_operator.scheduling.ledger import Ledger
from berth_operator.scheduling.place import Placement, Rejection, place
from berth_operator.scheduling.profiles import DEFAULT, Profile
from berth_operator.scheduling.requests import Request, request_of
from berth_operator.scheduling.staying import RESIZING, STARTING, stay
from berth_operator.sealing import seal


@dataclass(frozen=True)
class Wish:
    """What a VM asks for, its references found."""

    request: Request
    profile: Profile
    resolved: Resolved
    held: Holder | None = None
    """The only node that will do, and the guest there which goes on as this VM."""


@dataclass(frozen=True)
class Decision:
    """A node and the claim on it, which counts already."""

    node: str
    claim: Claim
    holding: Holding
    aim: Aim = Aim.BERTH


class Deciding:
    """Decides about one VM at a time, and assumes the claim."""

    def __init__(
        self,
        cluster: Cluster,
        ledger: Ledger,
        inventory: Inventory,
        *,
        interfaces: Interfaces,
        refusals: Refusals,
        profiles: Mapping[str, Profile],
        claim_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._cluster, self._ledger, self._inventory = cluster, ledger, inventory
        self._interfaces, self._refusals, self._profiles = interfaces, refusals, profiles
        self._claim_id = claim_id

    def wish(self, vm: VirtualMachine) -> Wish:
        """What the VM asks for.

        Raises:
            Unbindable: it refers to what is not there, or asks for what this version cannot do.
        """
        field = unsupported(vm)
        if field is not None:
            raise Unbindable("NotSupported", f"this version of Berth does not honour {field} yet: leave it out")
        stays = is_bound(vm)
        resolved = resolve(vm, self._cluster, stays=stays)
        request = request_of(
            vm,
            resolved.cpu,
            resolved.memory,
            priority=self._priority(vm, stays=stays),
            images=resolved.images,
            excluded=self._refusals.of(vm.metadata.uid),
        )
        left = self._inventory.leftovers
        awaited = awaited_by(vm, left.owes_report, left.owing)
        held = None if stays else holder_of(vm, left.of(vm.key), awaited=awaited)
        if held is not None:
            request = replace(request, requirements=replace(request.requirements, node_name=held.node))
        return Wish(request, self._profile(vm, stays=stays), resolved, held)

    def decide(self, vm: VirtualMachine, wish: Wish, user_data: bytes | None, epoch: int) -> Decision | Rejection:
        """Choose a node and addresses, and count the claim at once; or say why no node will do.

        Raises:
            Unbindable: an address, or the node's key, stands in the way.
        """
        request, held = wish.request, wish.held
        with self._inventory.leftovers.vacated(request.requirements.node_name, held.uid if held is not None else None):
            placement = place(self._inventory.snapshot(), request, wish.profile)
        if isinstance(placement, Rejection):
            return placement
        had = held.interfaces if held is not None else ()
        interfaces = self._interfaces.choose(vm, wish.resolved.networks, inherited=had)
        amounts = Amounts(request.cpu, placement.memory, dict(request.pools))
        claim = self._claim(vm, amounts, interfaces, self._seal(placement.node, user_data), epoch)
        claim = claim.model_copy(update={"adopts": held.uid if held is not None else None})
        return self._assume(vm, wish, Aim.BERTH, placement.node, claim)

    def decide_again(
        self, vm: VirtualMachine, wish: Wish, aim: Aim, user_data: bytes | None, epoch: int
    ) -> Decision | Rejection:
        """Choose a new claim for a VM that stays on its node, and count it at once; or say why there is no room.

        Raises:
            Unbindable: an address, or the node's key, stands in the way.
        """
        claim, resized = vm.status.claim, aim is Aim.RESIZE
        if claim is None:
            raise ValueError(f"{'/'.join(vm.key)} has no claim: it cannot stay anywhere")
        wanted, placement = self.place_again(vm, wish, aim)
        if isinstance(placement, Rejection):
            return placement
        seals = wanted.requirements.sealed
        interfaces = self._interfaces.choose(vm, wish.resolved.networks, kept(vm, claim) if resized else {})
        amounts = Amounts(wanted.cpu, placement.memory, dict(wanted.pools))
        sealed = self._seal(placement.node, user_data) if seals else None
        if resized and not seals and (wants_sealed(vm) or not is_as_asked(vm)):
            sealed = claim.sealed_user_data
        again = self._claim(vm, amounts, interfaces, sealed, epoch).model_copy(update={"adopts": claim.adopts})
        return self._assume(vm, wish, aim, placement.node, again)

    def place_again(self, vm: VirtualMachine, wish: Wish, aim: Aim) -> tuple[Request, Placement | Rejection]:
        """What a VM that stays on its node would hold there, and whether there is room for it. Nothing is counted."""
        claim, held, request = vm.status.claim, held_by(vm), wish.request
        if claim is None or held is None:
            raise ValueError(f"{'/'.join(vm.key)} holds nothing: it cannot stay anywhere")
        resized = aim is Aim.RESIZE
        had = claimed(claim)
        have = Amounts(0, 0, had.pools) if not resized or is_as_asked(vm) else had
        seals = wants_sealed(vm) and not (resized and claim.sealed_user_data is not None)
        wanted = replace(
            request,
            cpu=max(request.cpu, have.cpu),
            memory_kvm=max(request.memory_kvm, have.memory),
            memory_tcg=max(request.memory_tcg, have.memory),
            pools=tuple((Amounts(0, 0, dict(request.pools)) | have).pools.items()),
            requirements=replace(request.requirements, sealed=seals),
        )
        with self._ledger.without(vm.metadata.uid):
            return wanted, stay(self._inventory.snapshot(), wanted, held, RESIZING if resized else STARTING)

    def _claim(
        self,
        vm: VirtualMachine,
        amounts: Amounts,
        interfaces: tuple[ClaimedInterface, ...],
        sealed: str | None,
        epoch: int,
    ) -> Claim:
        return Claim(
            id=self._claim_id(),
            epoch=epoch,
            cpu=from_millis(amounts.cpu),
            memory=from_bytes(amounts.memory),
            storage=from_bytes(sum(amounts.pools.values())),
            pools=tuple(ClaimedPool(name=name, size=from_bytes(size)) for name, size in amounts.pools.items()),
            interfaces=interfaces,
            sealed_user_data=sealed,
            machine_uid=vm.metadata.uid,
        )

    def _assume(self, vm: VirtualMachine, wish: Wish, aim: Aim, node: str, claim: Claim) -> Decision:
        amounts = claimed(claim)
        holding = Holding(
            uid=vm.metadata.uid,
            owner="/".join(vm.key),
            claim_id=claim.id,
            node=node,
            cpu=amounts.cpu,
            memory=amounts.memory,
            pools=amounts.pools,
            interfaces=claim.interfaces,
            member=wish.request.member,
        )
        self._ledger.assume(holding)
        return Decision(node, claim, holding, aim)

    def _priority(self, vm: VirtualMachine, *, stays: bool) -> int:
        """Of its class. One that was placed by a class which is gone by now stands behind all that have one."""
        name = vm.spec.priority_class_name
        value = self._cluster.priority(name)
        if value is None and stays:
            return 0
        if value is None:
            raise Unbindable(
                "PriorityClassNotFound",
                f"PriorityClass {name} does not exist: create it, or name another in priorityClassName",
                waits_for=(Reference(kinds.PRIORITY_CLASS, name),),
            )
        return value

    def _profile(self, vm: VirtualMachine, *, stays: bool) -> Profile:
        """By which nodes are compared, which is over and done with for a VM that stays."""
        name = vm.spec.scheduler_profile or DEFAULT
        profile = self._profiles.get(name, self._profiles[DEFAULT] if stays else None)
        if profile is None:
            raise Unbindable(
                "SchedulerProfileNotFound",
                f"the operator has no scheduler profile {name}: change schedulerProfile to one of "
                f"{', '.join(sorted(self._profiles))}, or leave it out",
            )
        return profile

    def _seal(self, node: str, user_data: bytes | None) -> str | None:
        facts = self._inventory.facts(node)
        if user_data is None or facts is None:
            return None
        try:
            return seal(user_data, facts.public_key)
        except ValueError as error:
            raise Unbindable(
                "PublicKeyInvalid",
                f"user-data cannot be sealed to node {node}: {error}: restart its agent",
                waits_for_room=True,
            ) from error
