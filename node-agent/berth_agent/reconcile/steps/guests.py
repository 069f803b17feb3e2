"""A guest that is here already becomes this VM's, of this cluster: records are rewritten, the guest is not touched.

The domain comes first: while it says that it is another cluster's, nobody takes its disks down. The note that all is
done comes last, and until it is there everything is done again, each part finding what is left to do.
"""

from asyncio import timeout
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from berth_agent.hypervisor.states import DomainOwner
from berth_agent.network.errors import NetworkError
from berth_agent.reconcile.plan.adoptions import former_uid
from berth_agent.reconcile.plan.desired import Goal
from berth_agent.reconcile.plan.steps import AdoptGuest
from berth_agent.reconcile.rounds import Round, StepFailed
from berth_agent.reconcile.steps.disks import known_pools
from berth_agent.storage.errors import StorageError

log = structlog.get_logger()
_PATIENCE = 30.0
"""Seconds for each part of what a deleted VM adopts: all three together have to end before the step's deadline."""


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
        await _hand_over_parts(work, former)
        tools.admissions.adopt(former)
        tools.lookout.forget(former)


async def _hand_over_parts(work: Round, former: str) -> None:
    """What the guest has. Of a VM that is deleted no part may keep the others: what stays behind, an audit takes down.

    It finds it under the former UID, which no note says to be another cluster's any more.

    Raises:
        NetworkError, StorageError, OSError: a part could not be handed over, and the VM is not being deleted.
    """
    tools, uid = work.tools, work.owner.uid
    known = await known_pools(work, former) or ()
    parts: tuple[Callable[[], Awaitable[None]], ...] = (
        partial(tools.attachments.hand_over, former, uid),
        partial(tools.seeds.hand_over, former, uid),
        partial(tools.disks.hand_over, former, uid, known=known),
    )
    for hand_over in parts:
        try:
            async with timeout(_PATIENCE if work.desired.goal is Goal.REMOVE else None):
                await hand_over()
        except (NetworkError, StorageError, OSError) as error:  # OSError: TimeoutError as well
            if work.desired.goal is not Goal.REMOVE:
                raise
            log.warning("a part is not handed over to a VM that is deleted", **work.owner.fields, error=str(error))


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
