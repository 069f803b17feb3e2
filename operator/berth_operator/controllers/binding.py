"""The one write that gives a VM its berth, and the ones that say why it has none.

The write carries the resource version that was decided on, so whatever else happened to the VM meanwhile makes it fail,
never mix. When nobody can say whether a write was done, its claim goes on counting until the VM has been read again
and, where the write may still be on its way, been written to: then the late one meets another resource version.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from berth_api import kinds
from berth_api.client import Api, ApiError, DeadlineExceeded, NotFound, Unavailable
from berth_api.fields import FINALIZER
from berth_api.virtualmachines import Phase, VirtualMachine
from berth_operator import statuses
from berth_operator.cluster import Cluster
from berth_operator.controllers import finalizers
from berth_operator.controllers.aims import Aim, is_bound
from berth_operator.controllers.deciding import Decision
from berth_operator.controllers.needs import wants_sealed
from berth_operator.controllers.secrets import read_user_data
from berth_operator.controllers.vmstatuses import apply_status
from berth_operator.events import Events
from berth_operator.leases import Leadership, NotLeadingError
from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.ledger import Ledger

_LOGGER = logging.getLogger(__name__)
UNCERTAIN = "ClaimUncertain"


def needs_secret(vm: VirtualMachine, aim: Aim) -> bool:
    """Whether a decision needs what the VM's Secret says. A guest that runs has been told."""
    claim = vm.status.claim
    told = aim is Aim.RESIZE and claim is not None and claim.sealed_user_data is not None
    return wants_sealed(vm) and not told


def unprepared(vm: VirtualMachine, aim: Aim = Aim.BERTH) -> bool:
    """Whether something has to be read or written before a decision: a Secret, the finalizer."""
    return needs_secret(vm, aim) or FINALIZER not in vm.metadata.finalizers


async def at_once(_node: str, _leadership: Leadership) -> None:
    """Nothing stands in the way of a binding."""


class Binding:
    """Writes what was decided. `happened` is told when an assumed claim counts no longer.

    `before` is awaited between counting a claim and writing it; a Conflict in it has the VM decided anew.
    """

    def __init__(
        self,
        api: Api,
        cluster: Cluster,
        ledger: Ledger,
        *,
        events: Events,
        happened: Callable[[Cure], None],
        before: Callable[[str, Leadership], Awaitable[None]] = at_once,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._cluster, self._ledger, self._before = api, cluster, ledger, before
        self._events, self._happened, self._now = events, happened, now
        self._unsure: dict[str, str] = {}

    def unsure(self, vm: VirtualMachine) -> bool:
        """Whether nobody knows yet if the last write about the VM was done."""
        return vm.metadata.uid in self._unsure

    def forget(self, uid: str) -> None:
        """The VM is gone."""
        self._unsure.pop(uid, None)
        self._settle(uid)

    def reset(self) -> None:
        """A new term: the ledger knows no assumption."""
        self._unsure.clear()

    async def clear_up(self, vm: VirtualMachine, leadership: Leadership) -> None:
        """Find out about an earlier write of which nobody knows whether it was done, and see that it is not done later.

        Raises:
            ApiError: the API server cannot say yet; the claim goes on counting.
            NotLeadingError: the leadership ended.
        """
        uid, (namespace, name) = vm.metadata.uid, vm.key
        try:
            self._cluster.machines.upsert(await self._api.get(kinds.VIRTUAL_MACHINE, name, namespace))
        except NotFound:
            _LOGGER.info("%s/%s went while its binding was written", namespace, name)
        else:
            await self._outdate(self._cluster.machines.get(name, namespace) or vm, leadership)
        if self._unsure.pop(uid, None) is not None:
            self._settle(uid)

    async def _outdate(self, vm: VirtualMachine, leadership: Leadership) -> None:
        """If the VM is still just what the lost write was about, change it: what comes late then fails."""
        if self._unsure.get(vm.metadata.uid) != vm.metadata.resource_version:
            return
        claim = self._ledger.assumed(vm.metadata.uid)
        text = f"whether claim {claim} was written is not known; deciding anew"
        if is_bound(vm):
            body = statuses.staying(vm, reason=UNCERTAIN, message=text, now=self._now())
        else:
            body = statuses.unbound(vm, phase="Pending", reason=UNCERTAIN, message=text, now=self._now())
        leadership.check()
        self._cluster.machines.upsert(await apply_status(self._api, vm, body))

    async def refresh(self, vm: VirtualMachine) -> None:
        """See the VM as it is now, before the watch tells.

        Raises:
            ApiError: the API server cannot say.
        """
        namespace, name = vm.key
        try:
            self._cluster.machines.upsert(await self._api.get(kinds.VIRTUAL_MACHINE, name, namespace))
        except NotFound:
            _LOGGER.debug("%s/%s is gone: the watch will tell", namespace, name)

    async def prepare(self, vm: VirtualMachine, leadership: Leadership, aim: Aim = Aim.BERTH) -> bytes | None:
        """Read what the VM's Secret says, and set the finalizer where nobody did. The VM may have changed after it.

        Raises:
            Unbindable: the Secret is not there.
            ApiError: the API server failed, or the VM has changed.
            NotLeadingError: the leadership ended.
        """
        user_data = await read_user_data(self._api, vm) if needs_secret(vm, aim) else None
        if FINALIZER not in vm.metadata.finalizers:
            leadership.check()
            self._cluster.machines.upsert(await finalizers.add(self._api, vm))
        return user_data

    async def write(self, vm: VirtualMachine, decision: Decision, leadership: Leadership) -> None:
        """Bind.

        Raises:
            ApiError: it was not written, or (Unavailable, DeadlineExceeded) nobody knows: see `clear_up`.
            NotLeadingError: the leadership ended before the write.
        """
        uid = vm.metadata.uid
        try:
            await self._before(decision.node, leadership)
        except BaseException:
            self._settle(uid)  # nothing was written yet
            raise
        try:
            body = self._status(vm, decision)
            leadership.check()
            written = await apply_status(self._api, vm, body)
        except (Unavailable, DeadlineExceeded):
            self._doubt(vm)
            raise
        except (ApiError, NotLeadingError):
            self._settle(uid)
            raise
        except BaseException:
            self._doubt(vm)
            raise
        self._cluster.machines.upsert(written)
        self._ledger.settle(uid)
        self._events.tell(vm, "Normal", *_what_happened(decision))
        _LOGGER.debug("%s: bound %s/%s to %s, claim %s", decision.aim, *vm.key, decision.node, decision.claim.id)

    def _status(self, vm: VirtualMachine, decision: Decision) -> dict[str, Any]:
        node, claim, now = decision.node, decision.claim, self._now()
        if not decision.aim.stays:
            return statuses.bound(vm, node=node, claim=claim, now=now)
        return statuses.staying(vm, reason=statuses.BOUND, message=statuses.bound_message(node), claim=claim, now=now)

    async def explain(
        self, vm: VirtualMachine, reason: str, message: str, leadership: Leadership, phase: Phase = "Pending"
    ) -> None:
        """Say on the VM why it has no node, unless it says so already.

        Raises:
            ApiError: it was not written.
            NotLeadingError: the leadership ended.
        """
        body = statuses.unbound(vm, phase=phase, reason=reason, message=message, now=self._now())
        if statuses.shows(vm, body):
            return
        leadership.check()
        self._cluster.machines.upsert(await apply_status(self._api, vm, body))
        self._events.tell(vm, "Warning", "FailedScheduling", f"{reason}: {message}")

    async def explain_bound(
        self, vm: VirtualMachine, reason: str, message: str, leadership: Leadership, *, lost: bool = False
    ) -> bool:
        """Say on a VM that is bound how that stands, unless it says so already. True if that was new.

        Raises:
            ApiError: it was not written.
            NotLeadingError: the leadership ended.
        """
        body = statuses.staying(vm, reason=reason, message=message, now=self._now(), lost=lost)
        if statuses.shows_staying(vm, body):
            return False
        leadership.check()
        self._cluster.machines.upsert(await apply_status(self._api, vm, body))
        if reason != statuses.BOUND:
            self._events.tell(vm, "Warning", reason, message)
        return True

    def _doubt(self, vm: VirtualMachine) -> None:
        """Nobody knows whether the binding was written; of a VM that is gone it does not matter."""
        current = self._cluster.machines.get(vm.metadata.name, vm.metadata.namespace)
        if current is not None and current.metadata.uid == vm.metadata.uid:
            self._unsure[vm.metadata.uid] = vm.metadata.resource_version
        else:
            self._settle(vm.metadata.uid)

    def _settle(self, uid: str) -> None:
        if self._ledger.settle(uid):
            self._happened(Cure.CLAIM_FREED)


def _what_happened(decision: Decision) -> tuple[str, str]:
    """Reason and note of the Event."""
    node, claim = decision.node, decision.claim
    match decision.aim:
        case Aim.BERTH:
            return "Scheduled", f"bound to node {node}"
        case Aim.START:
            return "StartScheduled", f"CPU and memory are claimed again on node {node}"
        case Aim.RESIZE:
            return "ResizeScheduled", f"claimed on node {node} from now on: CPU {claim.cpu}, memory {claim.memory}"
