"""What a VM needs of the operator right now: to be bound, to be let go, or nothing."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from berth_api.client import Api
from berth_api.fields import FINALIZER
from berth_api.virtualmachines import VirtualMachine
from berth_operator import statuses
from berth_operator.cluster import Cluster
from berth_operator.controllers import finalizers
from berth_operator.controllers.binding import Binding
from berth_operator.controllers.refusals import Refusals
from berth_operator.controllers.vmstatuses import apply_status
from berth_operator.events import Events
from berth_operator.inventory import Inventory
from berth_operator.leases import Leadership
from berth_operator.metrics import Metrics
from berth_operator.scheduler import Scheduler, wants_berth
from berth_operator.store import Key

_LOGGER = logging.getLogger(__name__)


def released(vm: VirtualMachine) -> bool:
    """Whether nothing of the VM is left on any node: it was never bound, was refused, or its node took all down."""
    claim = vm.status.claim
    return claim is None or claim.id in (vm.status.released_claim, vm.status.refused_claim)


def refused(vm: VirtualMachine) -> bool:
    """Whether the node that the VM is bound to did not take it."""
    claim = vm.status.claim
    return claim is not None and bool(vm.status.node_name) and vm.status.refused_claim == claim.id


def needs_attention(vm: VirtualMachine) -> bool:
    """Whether the operator has anything to do about a VM beside giving it a berth."""
    if vm.metadata.deletion_timestamp is not None:
        return FINALIZER in vm.metadata.finalizers
    return refused(vm) or (vm.spec.run_strategy == "Halted" and vm.status.claim is None)


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
        refusals: Refusals,
        events: Events,
        metrics: Metrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._cluster, self._inventory = api, cluster, inventory
        self._scheduler, self._binding = scheduler, binding
        self._refusals, self._events, self._metrics, self._now = refusals, events, metrics, now

    def attend(self, vm: VirtualMachine) -> bool:
        """Do at once what takes no time; True if there is more to `reconcile`."""
        if needs_attention(vm) or (self._binding.unsure(vm) and not wants_berth(vm)):
            if vm.metadata.deletion_timestamp is not None:
                self._scheduler.leave(vm.key)
            return True
        if wants_berth(vm):
            self._scheduler.want(vm)
        else:
            self._scheduler.leave(vm.key)
        return False

    async def reconcile(self, key: Key, leadership: Leadership) -> float | None:
        """Do what the VM needs. Returns seconds after which to look again.

        Raises:
            ApiError: the API server failed; look again after a pause.
            NotLeadingError: the leadership ended.
        """
        namespace, name = key
        vm = self._cluster.machines.get(name, namespace)
        if vm is None:
            return None
        if self._binding.unsure(vm) and not wants_berth(vm):
            await self._binding.clear_up(vm)
            return 0.0
        if vm.metadata.deletion_timestamp is not None:
            return await self._let_go(vm, leadership)
        if refused(vm):
            self._note_refusal(vm, leadership.epoch)
        if wants_berth(vm):
            self._scheduler.want(vm)
        elif vm.spec.run_strategy == "Halted" and (vm.status.claim is None or refused(vm)):
            return await self._leave_halted(vm, leadership)
        return None

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
        """Delete wins: never bind, and drop the finalizer once the node has released everything."""
        if FINALIZER not in vm.metadata.finalizers or not released(vm):
            return None
        leadership.check()
        body = await finalizers.drop(self._api, vm)
        if body is None:
            return None
        if body["metadata"].get("finalizers"):
            self._cluster.machines.upsert(body)
        else:
            self._cluster.machines.remove(body)
        return None

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
