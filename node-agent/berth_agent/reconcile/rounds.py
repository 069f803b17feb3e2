"""A round's working set: whose VM it is, what is there to work with, and what has been made so far."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from berth_agent.cluster_view import ClusterView, ReferenceMissing
from berth_agent.hypervisor.errors import HypervisorError
from berth_agent.hypervisor.ports import HypervisorPort
from berth_agent.network.attachments import Attachment, Attachments
from berth_agent.network.errors import NetworkError
from berth_agent.node.anchors import Anchor
from berth_agent.node.consoles import Consoles
from berth_agent.node.facts import NodeFacts
from berth_agent.node.keys import NodeKey, UnsealFailed
from berth_agent.node.origins import Origins
from berth_agent.reconcile.admissions import Admissions
from berth_agent.reconcile.epochs import Epochs
from berth_agent.reconcile.holds import fingerprint
from berth_agent.reconcile.plan.admission import Refusal
from berth_agent.reconcile.plan.desired import Desired
from berth_agent.reconcile.plan.observed import Observed
from berth_agent.reconcile.plan.situations import PREPARING, Answers
from berth_agent.reconcile.ports import Lookout, NoLookout
from berth_agent.reconcile.turns import Turns
from berth_agent.storage.disks import Disks
from berth_agent.storage.errors import StorageError
from berth_agent.storage.image_cache import ImageCache
from berth_agent.storage.seeds import Seeds
from berth_api.client import Api, ApiError
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.virtualmachines import VirtualMachine


class ClaimRefused(Exception):
    """The node does not take the claim: an answer, not a failure."""

    def __init__(self, claim_id: str, refusal: Refusal) -> None:
        super().__init__(f"{refusal.reason}: {refusal.message}")
        self.claim_id = claim_id


class ObjectChanged(Exception):
    """The API server has a newer object that no longer asks for this step."""

    reason = "ObjectChanged"
    retryable = True


class ObjectUnreadable(Exception):
    """The API server has an object that this version cannot read."""

    reason = "ObjectUnreadable"
    retryable = False


class StepFailed(Exception):
    """A step failed with an error that has no reason of its own."""

    def __init__(self, reason: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable


LOOK_ERRORS = (StorageError, NetworkError, HypervisorError, ObjectUnreadable, OSError)
"""What may keep the agent from looking at a VM, or at the node. It is looked at again later."""

STEP_ERRORS = (
    StorageError,
    NetworkError,
    HypervisorError,
    ReferenceMissing,
    UnsealFailed,
    ObjectChanged,
    ObjectUnreadable,
    StepFailed,
    ApiError,
)
"""What a step may fail with: each has a `reason` for a condition and says whether it is `retryable`."""


class Owner(NamedTuple):
    """Whose a thing on this node is."""

    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, vm: VirtualMachine) -> "Owner":
        """The owner that a VM is."""
        return cls(vm.metadata.namespace, vm.metadata.name, vm.metadata.uid)

    @property
    def fields(self) -> Mapping[str, str]:
        """For log lines."""
        return {"vm": f"{self.namespace}/{self.name}", "uid": self.uid}


@dataclass(frozen=True)
class Tools:
    """What the steps work with."""

    node_name: str
    api: Api
    view: ClusterView
    facts: NodeFacts
    hypervisor: HypervisorPort
    attachments: Attachments
    images: ImageCache
    disks: Disks
    seeds: Seeds
    consoles: Consoles
    key: NodeKey
    admissions: Admissions
    epochs: Epochs
    origins: Origins
    lookout: Lookout = field(default_factory=NoLookout)
    turns: Turns = field(default_factory=Turns)
    anchor: Anchor | None = None
    """Where the node has one: who says when a claim is covered."""
    boot_id: str = ""
    """The node's boot ID: another after each reboot."""


Report = Callable[["Round"], Coroutine[Any, Any, None]]


def _admitted(vm: VirtualMachine, desired: Desired) -> str | None:
    """The admitted claim: a running guest keeps its former one until the node has answered the new one."""
    claim = vm.status.claim.id if vm.status.claim is not None else None
    if desired.admitted:
        return claim
    return vm.status.admitted_claim if vm.status.released_claim is None else None


@dataclass
class Round:
    """One round of one VM. Steps read what earlier ones made and leave what later ones need."""

    owner: Owner
    desired: Desired
    observed: Observed
    tools: Tools
    report: Report
    object: VirtualMachine | None
    answers: Answers = field(default_factory=Answers)
    attachments: dict[str, Attachment] = field(default_factory=dict)
    answering: "asyncio.Task[None] | None" = None
    """A report under way that later steps need not wait for."""

    @classmethod
    def of_vm(cls, vm: VirtualMachine, desired: Desired, observed: Observed, tools: Tools, report: Report) -> "Round":
        """A round for an object that is bound here."""
        claim = vm.status.claim.id if vm.status.claim is not None else None
        answers = Answers(admitted=_admitted(vm, desired), stopped=claim if desired.yielded else None)
        return cls(Owner.of(vm), desired, observed, tools, report, vm, answers)

    @classmethod
    def of_nobody(cls, owner: Owner, observed: Observed, tools: Tools, report: Report) -> "Round":
        """A round that only takes down: there is no object here any more."""
        return cls(owner, Desired.purge(), observed, tools, report, None)

    @property
    def vm(self) -> VirtualMachine:
        """The object that the round is for.

        Raises:
            LookupError: the round only takes down; a plan that has no object must not hold steps that need one.
        """
        if self.object is None:
            raise LookupError(f"there is no object {self.owner.namespace}/{self.owner.name} in this round")
        return self.object

    def take_in(self, body: Mapping[str, Any]) -> None:
        """Take in the object as the agent's own call got it back.

        What others have changed in it meanwhile is left to the watch, which tells whoever must look: an object that is
        known already is news to nobody.
        """
        known, fresh = self.tools.view.vm(self.owner.uid), VirtualMachine.from_api(body)
        if known is not None and fingerprint(known) == fingerprint(fresh):
            self.tools.view.put(VIRTUAL_MACHINE, body)

    def report_beside(self) -> None:
        """Report while the next steps are taken; whoever must not go before it calls `answered`."""
        self.answering = asyncio.create_task(self.report(self), name=f"answer about {self.owner.uid}")

    async def answered(self) -> None:
        """Wait for the report under way, if there is one.

        Raises:
            ApiError: it was not written.
        """
        if self.answering is not None:
            await asyncio.shield(self.answering)
            self.answering = None

    async def say(self, preparing: str) -> None:
        """Report what is under way, before something that may take long. A failure stays until it is overcome."""
        known = self.vm.status.condition("DisksReady")
        if known is not None and known.status == "False" and known.reason != PREPARING:
            return
        self.answers = replace(self.answers, preparing=preparing)
        await self.answered()
        await self.report(self)
