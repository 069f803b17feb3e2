"""A guest that is here already becomes this VM's, of this cluster: records are rewritten, the guest is not touched.

The domain comes first: while it says that it is another cluster's, nobody takes its disks down. The note that all is
done comes last, and until it is there everything is done again, each part finding what is left to do.
"""

from berth_agent.hypervisor.states import DomainOwner
from berth_agent.reconcile.plan.adoptions import former_uid
from berth_agent.reconcile.plan.desired import Goal
from berth_agent.reconcile.plan.steps import AdoptGuest
from berth_agent.reconcile.rounds import Round, StepFailed
from berth_agent.reconcile.steps.disks import known_pools


async def adopt(_step: AdoptGuest, work: Round) -> None:
    """Make what is here under the claim's `adopts`, or under the VM's own UID, say that it is this VM's."""
    tools, owner, former = work.tools, work.owner, former_uid(work.vm)
    lacking = await _why_not(work, former) if former else ""
    if not lacking:
        await _take_over(work, former)
    elif work.desired.goal is not Goal.REMOVE:  # a VM that is deleted goes without
        raise StepFailed("NotAdoptable", lacking, retryable=False)
    pools = await known_pools(work, former) or ()
    await tools.origins.note(owner.uid, former, namespace=owner.namespace, name=owner.name, pools=pools)
    if former and not lacking:
        await tools.origins.forget(former)


async def _take_over(work: Round, former: str) -> None:
    tools, owner = work.tools, work.owner
    await tools.hypervisor.hand_over(former or owner.uid, DomainOwner(*owner), cluster=tools.origins.cluster)
    if former:
        await tools.attachments.hand_over(former, owner.uid)
        await tools.seeds.hand_over(former, owner.uid)
        await tools.disks.hand_over(former, owner.uid, known=await known_pools(work, former) or ())
        tools.admissions.adopt(former)
        tools.lookout.forget(former)


async def _why_not(work: Round, former: str) -> str:
    """Why what is here under this UID may not become the VM's: it is somebody else's, whatever the claim says."""
    if work.tools.view.vm(former) is not None:
        return f"the claim adopts {former}, which is another VM's UID: the guest stays its own"
    domain, origin = await work.tools.hypervisor.domain(former), await work.tools.origins.of(former)
    noted = (origin.namespace, origin.name) if origin is not None else ("", "")
    said = (domain.owner.namespace, domain.owner.name) if domain is not None else noted
    if said not in (work.vm.key, ("", "")):
        whose = "/".join(said)
        return f"the claim adopts {former}, which is the guest of {whose}: a VM adopts a guest of its own name only"
    return ""
