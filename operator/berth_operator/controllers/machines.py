"""What a VM needs of the operator right now: to be bound, to be let go, to say where it stands, or nothing."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from berth_api import logs
from berth_api.client import Api
from berth_api.fields import CONDITION_SCHEDULED, FINALIZER
from berth_api.virtualmachines import VirtualMachine
from berth_operator import statuses
from berth_operator.cluster import Cluster
from berth_operator.controllers import finalizers
from berth_operator.controllers.aims import Aim, Aims, is_bound, start_was_refused
from berth_operator.controllers.binding import Binding
from berth_operator.controllers.nodeloss import OUT_OF_SERVICE, NodeLoss
from berth_operator.controllers.refusals import Pauses, Refusals
from berth_operator.controllers.remains import is_settled
from berth_operator.controllers.restores import clear, forget
from berth_operator.controllers.vmstatuses import apply_status
from berth_operator.events import Events
from berth_operator.inventory import Inventory
from berth_operator.leases import Leadership
from berth_operator.metrics import Metrics
from berth_operator.scheduler import Scheduler
from berth_operator.store import Key

_LOGGER = logging.getLogger(__name__)
_NODE_LOST = "NodeLost"
_LOOK_AGAIN = 10.0
"""Seconds between looks whether the loss of a node is certain, while a VM that is deleted waits for it."""


def released(vm: VirtualMachine) -> bool:
    """Whether nothing of the VM is left on any node: it was never bound, was refused, or its node took all down."""
    claim = vm.status.claim
    return claim is None or vm.has_foreign_claim or claim.id in (vm.status.released_claim, vm.status.refused_claim)


def refused(vm: VirtualMachine) -> bool:
    """Whether the node that the VM is bound to did not take it."""
    claim = vm.status.claim
    if claim is None or vm.has_foreign_claim:
        return False
    return bool(vm.status.node_name) and vm.status.refused_claim == claim.id


def needs_attention(vm: VirtualMachine) -> bool:
    """Whether the operator has anything to do about a VM beside giving it a berth."""
    if vm.metadata.deletion_timestamp is not None:
        return FINALIZER in vm.metadata.finalizers
    if refused(vm) or vm.has_foreign_claim or is_settled(vm):
        return True
    return vm.spec.run_strategy == "Halted" and vm.status.claim is None


class Machines:
    """Looks at one VM at a time."""

    def __init__(
        self,
        api: Api,
        cluster: Cluster,
        inventory: Inventory,
        scheduler: Scheduler,
        binding: Binding,
        *,
        aims: Aims,
        loss: NodeLoss,
        refusals: Refusals,
        pauses: Pauses,
        events: Events,
        metrics: Metrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._cluster, self._inventory = api, cluster, inventory
        self._scheduler, self._binding = scheduler, binding
        self._aims, self._loss, self._refusals, self._pauses = aims, loss, refusals, pauses
        self._events, self._metrics, self._now = events, metrics, now

    def attend(self, vm: VirtualMachine) -> bool:
        """Do at once what takes no time; True if there is more to `reconcile`."""
        aim = self._aims.of(vm)
        if needs_attention(vm) or (self._binding.unsure(vm) and aim is None):
            if vm.metadata.deletion_timestamp is not None:
                self._scheduler.leave(vm.key)
            return True
        self._note_start(vm, aim)
        if aim is not None:
            self._scheduler.want(vm)
            return False
        self._scheduler.leave(vm.key)
        return self._says_otherwise(vm)

    def _note_start(self, vm: VirtualMachine, aim: Aim | None) -> None:
        """How the last try to start it again ended."""
        claim, uid = vm.status.claim, vm.metadata.uid
        if claim is None:
            return
        if vm.status.stopped_claim != claim.id:
            if vm.status.admitted_claim == claim.id:
                self._pauses.forget(uid)
        elif aim is Aim.START and start_was_refused(vm) and self._pauses.note(uid, claim.id):
            self._metrics.refused()
            note = f"node {vm.status.node_name} did not start it: trying again"
            self._events.tell(vm, "Warning", "ClaimRefused", note)

    def _says_otherwise(self, vm: VirtualMachine) -> bool:
        """Whether a bound VM that wants nothing may have to be told where it stands."""
        if not is_bound(vm):
            return False
        condition = vm.status.condition(CONDITION_SCHEDULED)
        told_well = condition is None or condition.reason == statuses.BOUND
        return not told_well or self._loss.lost(vm.status.node_name or "")

    async def reconcile(self, key: Key, leadership: Leadership) -> float | None:
        """Do what the VM needs. Returns seconds after which to look again. To be run by a task of its own.

        Raises:
            ApiError: the API server failed; look again after a pause.
            NotLeadingError: the leadership ended.
        """
        namespace, name = key
        vm = self._cluster.machines.get(name, namespace)
        if vm is None:
            return None
        logs.tag(**logs.fields_of(vm))
        if self._binding.unsure(vm) and self._aims.of(vm) is None:
            await self._binding.clear_up(vm, leadership)
            return 0.0
        if vm.metadata.deletion_timestamp is not None:
            return await self._let_go(vm, leadership)
        if vm.has_foreign_claim or is_settled(vm):
            await self._clear_past(vm, leadership)
            return None
        if refused(vm):
            self._note_refusal(vm, leadership.epoch)
        if self._aims.of(vm) is Aim.BERTH:
            self._scheduler.want(vm)
        elif vm.spec.run_strategy == "Halted" and (vm.status.claim is None or refused(vm)):
            return await self._leave_halted(vm, leadership)
        elif self._loss.lost(vm.status.node_name or ""):
            await self._say_lost(vm, leadership)
        elif self._aims.of(vm) is None and self._says_otherwise(vm):
            message = statuses.bound_message(vm.status.node_name or "")
            await self._binding.explain_bound(vm, statuses.BOUND, message, leadership)
        return None

    async def _clear_past(self, vm: VirtualMachine, leadership: Leadership) -> None:
        """Take away what the status says of another object: it binds nothing, and counts until the VM has run here."""
        leadership.check()
        if not vm.has_foreign_claim:
            self._cluster.machines.upsert(await forget(self._api, vm))
            return
        self._cluster.machines.upsert(await clear(self._api, vm, now=self._now()))
        _LOGGER.warning("%s came with the status of another object; it is placed anew", "/".join(vm.key))

    def _note_refusal(self, vm: VirtualMachine, epoch: int) -> None:
        """Hold the refusal against the node, unless a former leader's epoch alone was reason enough for it."""
        node, claim = vm.status.node_name or "", vm.status.claim
        if claim is None or claim.epoch < epoch or not self._refusals.note(vm.metadata.uid, node, claim.id):
            return
        self._inventory.note_failure(node)
        self._metrics.refused()
        _LOGGER.info("node %s refused %s", node, "/".join(vm.key))
        self._events.tell(vm, "Warning", "ClaimRefused", f"node {node} refused the claim: looking for another")

    async def _let_go(self, vm: VirtualMachine, leadership: Leadership) -> float | None:
        """Delete wins: never bind, and drop the finalizer once the node has released everything, or is gone itself."""
        if FINALIZER not in vm.metadata.finalizers:
            return None
        if not released(vm):
            return await self._give_up(vm, leadership)
        leadership.check()
        body = await finalizers.drop(self._api, vm)
        if body is None:
            return None
        if body["metadata"].get("finalizers"):
            self._cluster.machines.upsert(body)
        else:
            self._cluster.machines.remove(body)
        return None

    async def _give_up(self, vm: VirtualMachine, leadership: Leadership) -> float | None:
        """Unbind a VM that is being deleted if its node is lost for certain: nobody is left who could release it."""
        node = vm.status.node_name
        if not node:
            return None
        if not self._loss.lost(node):  # its silence may be ours: NodeLoss looks again before it believes in it
            return None if self._inventory.alive(node) else _LOOK_AGAIN
        why = await self._loss.certain(node)
        if why is None:
            if self._loss.lost(node):
                await self._say_lost(vm, leadership)
            return _LOOK_AGAIN
        note = f"{why}: what the VM claimed there is given up"
        body = statuses.unbound(vm, phase="Terminating", reason=_NODE_LOST, message=note, now=self._now())
        leadership.check()
        self._cluster.machines.upsert(await apply_status(self._api, vm, body))
        _LOGGER.warning("%s: %s", "/".join(vm.key), note)
        self._events.tell(vm, "Warning", _NODE_LOST, note)
        return 0.0

    async def _say_lost(self, vm: VirtualMachine, leadership: Leadership) -> None:
        """Say once that the VM's node is lost; its agent takes the phase back when it returns."""
        node = vm.status.node_name or ""
        why = await self._loss.certain(node)
        if why is None:
            message = (
                f"node {node} is lost: its agent has sent no heartbeat for too long, and whether the guest runs is not "
                f"known. Once the machine is certain to be off, delete its Node or taint that with {OUT_OF_SERVICE}"
            )
        else:
            message = f"node {node} is lost for certain: {why}. The VM stays bound to it until it is deleted"
        if await self._binding.explain_bound(vm, _NODE_LOST, message, leadership, lost=True):
            _LOGGER.warning("%s: %s", "/".join(vm.key), message)

    async def _leave_halted(self, vm: VirtualMachine, leadership: Leadership) -> float | None:
        """A VM that shall not run and has no node needs none."""
        self._scheduler.leave(vm.key)
        body = statuses.unbound(
            vm, phase="Stopped", reason="Halted", message="runStrategy is Halted: no node is needed", now=self._now()
        )
        if statuses.shows(vm, body):
            return None
        leadership.check()
        written = await apply_status(self._api, vm, body)
        self._cluster.machines.upsert(written)
        return None
