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
from berth_operator.leases import Leadership
from berth_operator.store import Key
from berth_operator.waiting import WaitingRoom

_LOGGER = logging.getLogger(__name__)


def released(vm: VirtualMachine) -> bool:
    """Whether nothing of the VM is left on any node: it was never bound, was refused, or its node took all down."""
    claim = vm.status.claim
    return claim is None or claim.id in (vm.status.released_claim, vm.status.refused_claim)


class Machines:
    """Looks at one VM at a time."""

    def __init__(
        self,
        api: Api,
        cluster: Cluster,
        binding: Binding,
        *,
        refusals: Refusals,
        waiting: WaitingRoom,
        events: Events,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._cluster, self._binding = api, cluster, binding
        self._refusals, self._waiting, self._events, self._now = refusals, waiting, events, now

    async def reconcile(self, key: Key, leadership: Leadership) -> float | None:
        """Do what the VM needs. Returns seconds after which to look again.

        Raises:
            ApiError: the API server failed; look again after a pause.
            NotLeadingError: the leadership ended.
        """
        namespace, name = key
        vm = self._cluster.machines.get(name, namespace)
        self._waiting.leave(key)
        if vm is None:
            return None
        if await self._binding.clear_up(vm):
            return 0.0
        if vm.metadata.deletion_timestamp is not None:
            return await self._let_go(vm, leadership)
        claim = vm.status.claim
        if vm.status.node_name and claim is not None:
            if vm.status.refused_claim != claim.id:
                return None
            self._note_refusal(vm)
        if vm.spec.run_strategy == "Halted":
            return await self._leave_halted(vm, leadership)
        return await self._binding.bind(vm, leadership)

    def _note_refusal(self, vm: VirtualMachine) -> None:
        node = vm.status.node_name or ""
        self._refusals.note(vm.metadata.uid, node)
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
        body = statuses.unbound(
            vm, phase="Stopped", reason="Halted", message="runStrategy is Halted: no node is needed", now=self._now()
        )
        if statuses.shows(vm, body):
            return None
        leadership.check()
        written = await apply_status(self._api, vm, body)
        self._cluster.machines.upsert(written)
        return None
