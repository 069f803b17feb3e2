"""The claim's handshake: admitted or refused before anything is created, released after all is taken down."""

from dataclasses import replace

from berth_agent.node.anchors import Anchor
from berth_agent.reconcile.plan.admission import Refusal
from berth_agent.reconcile.plan.covering import uncovered
from berth_agent.reconcile.plan.hardware import unavailable
from berth_agent.reconcile.plan.steps import AdmitClaim, ReleaseClaim, YieldClaim
from berth_agent.reconcile.rounds import ClaimRefused, Round, StepFailed
from berth_agent.reconcile.steps.disks import pools_of
from berth_api.hypervisors import HypervisorSpec
from berth_api.quantities import to_bytes
from berth_api.virtualmachines import Claim

_RUNNING_WAITS = 5.0
"""Seconds for which the next claim of a running guest waits for the kubelet: the guest has to be looked after, too."""


async def admit(_step: AdmitClaim, work: Round) -> None:
    """Check the claim against what the node really has, before anything is created, and answer on the object.

    The answer is written while disks and NICs are made: an API server takes its time when thirty VMs come at once. No
    domain is defined before it is there, and what was made for a VM that has gone meanwhile goes with it.
    """
    claim = work.vm.status.claim
    if claim is None:
        raise LookupError("a plan without a claim must not admit one")
    owner = work.owner
    known = await work.tools.origins.of(owner.uid)
    pools = pools_of(work.object) or ()
    await work.tools.origins.note(owner.uid, namespace=owner.namespace, name=owner.name, pools=pools)
    try:
        await _check(work, claim)
    except ClaimRefused:
        if known is None and work.observed.nothing:
            await work.tools.origins.forget(owner.uid)
        raise


async def _check(work: Round, claim: Claim) -> None:
    if not work.observed.power.is_active:
        _cover(work, claim)
        _provide(work, claim)
    if work.answers.admitted == claim.id:
        return
    refusal = await _ask(work, claim)
    if refusal is None:
        work.answers = replace(work.answers, admitted=claim.id)
        work.report_beside()
    elif work.observed.power.is_active and not work.tools.admissions.rests(work.owner.uid):
        # It runs on with what it has, and the node is asked again.
        work.answers = replace(work.answers, refusal=f"{refusal.reason}: {refusal.message}")
    else:
        raise ClaimRefused(claim.id, refusal)


async def _ask(work: Round, claim: Claim) -> Refusal | None:
    """Whether the node has what the claim takes, beside all others."""
    tools, uid = work.tools, work.owner.uid
    # A guest that runs is here by an earlier claim: of its next one only the room is in question.
    epoch = claim.epoch if work.observed.power.is_active else await tools.epochs.current()
    if work.observed.power.is_active and not tools.admissions.holds(uid):
        # Its guest has the room already, and a refusal would let another node start it.
        tools.admissions.hold(uid, claim)
        return None
    if tools.anchor is None:
        spec, pods = _wishes(work), tools.view.pod_requests()
        return tools.admissions.admit(uid, claim, tools.facts.room, spec, pods, current_epoch=epoch)
    return await _ask_kubelet(work, claim, tools.anchor, epoch)


async def _ask_kubelet(work: Round, claim: Claim, anchor: Anchor, epoch: int) -> Refusal | None:
    """Whether the node has it, and its kubelet too: that counts the Pods, also those which it is about to turn down."""
    uid, admissions, room = work.owner.uid, work.tools.admissions, work.tools.facts.room
    refusal = admissions.refuse(uid, claim, room, _wishes(work), current_epoch=epoch)
    if refusal is not None or admissions.admitted(uid, claim):
        return refusal
    return await anchor.admit(
        uid,
        lambda: admissions.needed(uid, claim, _wishes(work).overcommit),
        lambda: admissions.admit(uid, claim, room, _wishes(work), current_epoch=epoch),
        limit=_RUNNING_WAITS if work.observed.power.is_active else None,
    )


def _wishes(work: Round) -> HypervisorSpec:
    """What the administrator says of the node."""
    hypervisor = work.tools.view.hypervisor(work.tools.node_name)
    return hypervisor.spec if hypervisor is not None else HypervisorSpec()


def _cover(work: Round, claim: Claim) -> None:
    """Refuse a claim that is too small for the spec by now: a new one is made for it, here where its disks are."""
    vm, tools = work.vm, work.tools
    cpu, memory = tools.view.size(vm)
    lacking = uncovered(
        vm,
        claim,
        cpus=cpu.count,
        memory=to_bytes(memory.size),
        accelerator=tools.facts.capabilities.accelerator,
    )
    if lacking is not None:
        raise ClaimRefused(claim.id, Refusal("SpecExceedsClaim", lacking))
    closed = _closed_network(work)
    if closed is not None:
        raise _refusal(work, claim, Refusal("NetworkNotAllowed", closed))


def _provide(work: Round, claim: Claim) -> None:
    """Refuse a new claim for hardware that the node has not got, and hold a VM back that was edited to ask for it."""
    cpu, _ = work.tools.view.size(work.vm)
    lacking = unavailable(work.vm, cpu, work.tools.facts.capabilities)
    if lacking is None:
        return
    raise _refusal(work, claim, lacking)


def _refusal(work: Round, claim: Claim, refusal: Refusal) -> Exception:
    """A new claim is refused; a VM whose admitted claim is as good as any is held back until somebody mends it."""
    if work.answers.admitted == claim.id:
        return StepFailed(refusal.reason, refusal.message, retryable=False)
    return ClaimRefused(claim.id, refusal)


def _closed_network(work: Round) -> str | None:
    namespace = work.owner.namespace
    for nic in work.vm.spec.interfaces:
        allowed = work.tools.view.network(nic.network_name).spec.allowed_namespaces
        if allowed is not None and namespace not in allowed:
            return f"the network {nic.network_name} no longer allows VMs of the namespace {namespace}"
    return None


async def yield_power(_step: YieldClaim, work: Round) -> None:
    """Say that CPU and memory of the claim are free. The node's own count follows when the round has said so."""
    claim = work.vm.status.claim
    if claim is None:
        return
    work.answers = replace(work.answers, stopped=claim.id)
    await work.report(work)


async def release(_step: ReleaseClaim, work: Round) -> None:
    """Say that nothing of the VM is left here. The room is given back once it is said."""
    claim = work.vm.status.claim
    work.observed = replace(work.observed, interfaces={}, disks={})
    work.answers = replace(work.answers, released=claim.id if claim is not None else None)
    await work.report(work)
    await work.tools.origins.forget(work.owner.uid)
    work.tools.admissions.release(work.owner.uid)
