"""Giving a VM its berth: references, addresses, a node, a claim, and the one write that makes it so.

The decision is made between two awaits, on a ledger that counts every earlier decision, written or not. The write
carries the resource version that was decided on, so whatever else happened to the VM meanwhile makes it fail, never
mix. When nobody can say whether a write was done, its claim goes on counting until the VM has been read again.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from berth_api import kinds
from berth_api.client import Api, ApiError, DeadlineExceeded, NotFound, Unavailable
from berth_api.fields import FINALIZER
from berth_api.quantities import from_bytes, from_millis
from berth_api.virtualmachines import Claim, ClaimedPool, VirtualMachine
from berth_operator import statuses
from berth_operator.cluster import Cluster
from berth_operator.controllers import finalizers
from berth_operator.controllers.interfaces import Interfaces
from berth_operator.controllers.references import Unbindable, resolve
from berth_operator.controllers.refusals import Refusals
from berth_operator.controllers.secrets import read_user_data, seal
from berth_operator.controllers.unsupported import unsupported
from berth_operator.controllers.vmstatuses import apply_status
from berth_operator.events import Events
from berth_operator.inventory import Inventory
from berth_operator.leases import Leadership
from berth_operator.scheduling.ledger import Holding, Ledger
from berth_operator.scheduling.place import Rejection, place
from berth_operator.scheduling.requests import Request, request_of
from berth_operator.waiting import WaitingRoom

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """A node and the claim on it."""

    node: str
    claim: Claim
    holding: Holding


class Binding:
    """Binds VMs that have no node, or whose node refused them."""

    def __init__(
        self,
        api: Api,
        cluster: Cluster,
        ledger: Ledger,
        inventory: Inventory,
        *,
        interfaces: Interfaces,
        refusals: Refusals,
        waiting: WaitingRoom,
        events: Events,
        poll: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        claim_id: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        self._api, self._cluster, self._ledger, self._inventory = api, cluster, ledger, inventory
        self._interfaces, self._refusals, self._waiting, self._events = interfaces, refusals, waiting, events
        self._poll, self._now, self._claim_id = poll, now, claim_id

    async def bind(self, vm: VirtualMachine, leadership: Leadership) -> float | None:
        """Bind the VM, or say on it why it cannot be. Returns seconds after which to look again, if time may help.

        Raises:
            ApiError: the API server failed; look again after a pause.
            NotLeadingError: the leadership ended before the write.
        """
        try:
            await self._bind(vm, leadership)
        except Unbindable as why:
            self._waiting.wait(vm.key, why.waits_for, room=why.waits_for_room)
            await self._explain(vm, why, leadership)
            return self._poll if why.polls else self._refusals.until_over(vm.metadata.uid)
        return None

    async def clear_up(self, vm: VirtualMachine) -> bool:
        """Find out about an earlier write of which nobody knows whether it was done; True if there was one.

        Raises:
            ApiError: the API server cannot say yet; the claim goes on counting.
        """
        uid, (namespace, name) = vm.metadata.uid, vm.key
        if self._ledger.assumed(uid) is None:
            return False
        try:
            self._cluster.machines.upsert(await self._api.get(kinds.VIRTUAL_MACHINE, name, namespace))
        except NotFound:
            _LOGGER.info("%s/%s went while its binding was written", namespace, name)
        if self._ledger.settle(uid):
            self._waiting.room()
        return True

    async def _bind(self, vm: VirtualMachine, leadership: Leadership) -> None:
        field = unsupported(vm)
        if field is not None:
            raise Unbindable("NotSupported", f"this version of Berth does not honour {field} yet: leave it out")
        resolve(vm, self._cluster)
        user_data = await read_user_data(self._api, vm)
        if FINALIZER not in vm.metadata.finalizers:
            leadership.check()
            body = await finalizers.add(self._api, vm)
            self._cluster.machines.upsert(body)
            vm = VirtualMachine.from_api(body)
        leadership.check()
        decision = self._decide(vm, user_data, leadership.epoch)
        await self._write(vm, decision)

    def _decide(self, vm: VirtualMachine, user_data: bytes | None, epoch: int) -> Decision:
        """Choose addresses and a node, and count the claim at once. No await between looking and counting."""
        resolved = resolve(vm, self._cluster)
        interfaces = self._interfaces.choose(vm, resolved.networks)
        excluded = self._refusals.of(vm.metadata.uid)
        request = request_of(vm.spec, resolved.cpu, resolved.memory, excluded)
        placement = place(self._inventory.snapshot(), request)
        if isinstance(placement, Rejection):
            raise Unbindable("Unschedulable", placement.message, phase="Unschedulable", waits_for_room=True)
        sealed = self._seal(placement.node, user_data)
        claim = Claim(
            id=self._claim_id(),
            epoch=epoch,
            cpu=from_millis(request.cpu),
            memory=from_bytes(placement.memory),
            storage=from_bytes(request.storage),
            pools=_pools(request),
            interfaces=interfaces,
            sealed_user_data=sealed,
        )
        holding = Holding(
            uid=vm.metadata.uid,
            owner="/".join(vm.key),
            claim_id=claim.id,
            node=placement.node,
            cpu=request.cpu,
            memory=placement.memory,
            pools=request.pools,
            interfaces=interfaces,
        )
        self._ledger.assume(holding)
        return Decision(placement.node, claim, holding)

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

    async def _write(self, vm: VirtualMachine, decision: Decision) -> None:
        body = statuses.bound(vm, node=decision.node, claim=decision.claim, now=self._now())
        uid = vm.metadata.uid
        try:
            written = await apply_status(self._api, vm, body)
        except (Unavailable, DeadlineExceeded):
            raise  # perhaps it was done: see clear_up
        except ApiError:
            if self._ledger.settle(uid):
                self._waiting.room()
            raise
        self._cluster.machines.upsert(written)
        self._ledger.settle(uid)
        self._events.tell(vm, "Normal", "Scheduled", f"bound to node {decision.node}")
        _LOGGER.info("bound %s to %s, claim %s", "/".join(vm.key), decision.node, decision.claim.id)

    async def _explain(self, vm: VirtualMachine, why: Unbindable, leadership: Leadership) -> None:
        body = statuses.unbound(vm, phase=why.phase, reason=why.reason, message=why.message, now=self._now())
        current = self._cluster.machines.get(vm.metadata.name, vm.metadata.namespace)
        if current is None or statuses.shows(current, body):
            return
        leadership.check()
        written = await apply_status(self._api, current, body)
        self._cluster.machines.upsert(written)
        self._events.tell(vm, "Warning", "FailedScheduling", f"{why.reason}: {why.message}")


def _pools(request: Request) -> tuple[ClaimedPool, ...]:
    return tuple(ClaimedPool(name=name, size=from_bytes(size)) for name, size in sorted(request.pools.items()))
