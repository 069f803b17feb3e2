"""The claim's handshake: admitted or refused before anything is created, released after all is taken down."""

from dataclasses import replace

from berth_agent.reconcile.plan.admission import Refusal
from berth_agent.reconcile.plan.covering import uncovered
from berth_agent.reconcile.plan.hardware import unavailable
from berth_agent.reconcile.plan.steps import AdmitClaim, ReleaseClaim
from berth_agent.reconcile.rounds import ClaimRefused, Round, SpecExceedsClaim, StepFailed
from berth_api.client import NotFound
from berth_api.fields import OPERATOR_LEASE
from berth_api.hypervisors import HypervisorSpec
from berth_api.kinds import LEASE
from berth_api.quantities import to_bytes
from berth_api.virtualmachines import Claim


async def admit(_step: AdmitClaim, work: Round) -> None:
    """Check the claim against what the node really has, and answer on the object before anything is created."""
    tools, claim = work.tools, work.vm.status.claim
    if claim is None:
        raise LookupError("a plan without a claim must not admit one")
    if not work.observed.power.is_active:
        _cover(work, claim)
        _provide(work, claim)
    if work.answers.admitted == claim.id:
        return
    epoch = await _current_epoch(work)
    hypervisor = tools.view.hypervisor(tools.node_name)
    spec = hypervisor.spec if hypervisor is not None else HypervisorSpec()
    if work.observed.power.is_active:  # its guest has the room already, and a refusal would let another node start it
        tools.admissions.hold(work.owner.uid, claim)
        refusal = None
    else:
        room, pods = tools.facts.room, tools.view.pod_requests()
        refusal = tools.admissions.admit(work.owner.uid, claim, room, spec, pods, current_epoch=epoch)
    if refusal is not None:
        raise ClaimRefused(claim.id, refusal)
    work.answers = replace(work.answers, admitted=claim.id)
    await work.report(work)


def _cover(work: Round, claim: Claim) -> None:
    """Refuse a new claim that is too small for the spec by now, and hold a VM back whose admitted one is."""
    vm, tools = work.vm, work.tools
    cpu, memory = tools.view.size(vm)
    lacking = uncovered(
        vm,
        claim,
        cpus=cpu.count,
        memory=to_bytes(memory.size),
        accelerator=tools.facts.capabilities.accelerator,
    ) or _closed_network(work)
    if lacking is None:
        return
    if work.answers.admitted == claim.id:
        raise SpecExceedsClaim(lacking)
    raise ClaimRefused(claim.id, Refusal(SpecExceedsClaim.reason, lacking))


def _provide(work: Round, claim: Claim) -> None:
    """Refuse a new claim for hardware that the node has not got, and hold a VM back that was edited to ask for it."""
    cpu, _ = work.tools.view.size(work.vm)
    lacking = unavailable(work.vm, cpu, work.tools.facts.capabilities)
    if lacking is None:
        return
    if work.answers.admitted == claim.id:
        raise StepFailed(lacking.reason, lacking.message, retryable=False)
    raise ClaimRefused(claim.id, lacking)


def _closed_network(work: Round) -> str | None:
    namespace = work.owner.namespace
    for nic in work.vm.spec.interfaces:
        allowed = work.tools.view.network(nic.network_name).spec.allowed_namespaces
        if allowed is not None and namespace not in allowed:
            return f"the network {nic.network_name} no longer allows VMs of the namespace {namespace}"
    return None


async def release(_step: ReleaseClaim, work: Round) -> None:
    """Say that nothing of the VM is left here. The room is given back once it is said."""
    claim = work.vm.status.claim
    work.observed = replace(work.observed, interfaces={}, disks={})
    work.answers = replace(work.answers, released=claim.id if claim is not None else None)
    await work.report(work)
    work.tools.admissions.release(work.owner.uid)


async def _current_epoch(work: Round) -> int:
    """`leaseTransitions` of the operator's Lease: an older claim was decided by a leader that is none any more."""
    try:
        lease = await work.tools.api.get(LEASE, OPERATOR_LEASE, work.tools.namespace)
    except NotFound:
        return 0
    return int(lease.get("spec", {}).get("leaseTransitions") or 0)
