"""What is on this node and belongs to no VM: found by comparing the node with the API server's complete list.

Done at the start and every few minutes. Nothing is destroyed here: what has no VM is handed to the reconciler, which
asks the API server about that VM once more. A list that failed or was cut off raises, and nothing is compared. On a
shared pool the disks of other nodes' VMs are no remains. Nor is what another cluster has made, or a VM adopts.
"""

from collections.abc import Iterable
from functools import partial

import structlog

from berth_agent.hypervisor.states import DomainState
from berth_agent.reconcile.handovers import set_apart
from berth_agent.reconcile.rounds import Owner, Tools
from berth_api.kinds import VIRTUAL_MACHINE

log = structlog.get_logger()


async def find_remains(tools: Tools) -> frozenset[Owner]:
    """Owners that have something on this node although no VM of theirs is bound here.

    Raises:
        ApiError: there is no complete list; nobody may be called gone.
        HypervisorError, NetworkError, StorageError: the node could not be looked at.
    """
    domains = await tools.hypervisor.domains()
    await set_apart(tools, domains)
    here, noted = await owners_here(tools, domains), await tools.origins.own()
    if not here and not noted:
        return frozenset()
    listed = await tools.api.list(VIRTUAL_MACHINE)
    bound = {body["metadata"]["uid"]: body.get("status", {}).get("nodeName") for body in listed.items}
    spared = {(body.get("status", {}).get("claim") or {}).get("adopts") for body in listed.items}
    spared |= {remains.owner.uid for remains in tools.facts.remains} | await tools.origins.foreign()
    listed_here = {uid for uid, node in bound.items() if node == tools.node_name}
    await _forget(tools, noted - listed_here - {owner.uid for owner in here} - spared)
    gone = (owner for owner in here if bound.get(owner.uid, "") not in (None, tools.node_name))
    remains = frozenset(owner for owner in gone if owner.uid not in spared)
    if remains:
        log.info("found remains", vms=sorted(owner.uid for owner in remains))
    return remains


async def _forget(tools: Tools, uids: Iterable[str]) -> None:
    """Drop the notes of VMs that have nothing here: their claims were refused, or the agent died before it forgot them.

    Where a pool does not answer, nobody knows. A VM that was bound here meanwhile keeps its note.
    """
    for uid in () if tools.facts.pools.unready() else uids:
        await tools.origins.forget(uid, unless=partial(_is_known, tools, uid))


def _is_known(tools: Tools, uid: str) -> bool:
    return tools.view.vm(uid) is not None


async def owners_here(tools: Tools, domains: Iterable[DomainState]) -> frozenset[Owner]:
    """Everybody who has anything on this node. Where only a UID is known, namespace and name are empty."""
    named = {domain.owner.uid: Owner(*domain.owner) for domain in domains}
    uids = set(named)
    for owner in await tools.attachments.owners():
        uids.add(owner)
    uids |= await tools.seeds.seeds()
    uids |= tools.consoles.owners()
    uids |= (await tools.disks.observe(leave_out=tools.facts.pools.shared)).keys()
    return frozenset(named.get(uid, Owner("", "", uid)) for uid in uids)
