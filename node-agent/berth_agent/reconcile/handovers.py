"""Guests that are another cluster's, and those that go on as a VM of this one. See decision 0012.

That the API server has no object for a guest means that it may go only in the cluster that made it. And of a VM that
adopts a guest, what is here under the guest's former UID is that VM's, from the moment that its claim says so.
"""

from collections.abc import Iterable

from berth_agent.hypervisor.states import DomainState
from berth_agent.reconcile.plan.adoptions import former_uid
from berth_agent.reconcile.rounds import Tools
from berth_api.overhead import memory_overhead
from berth_api.quantities import from_bytes, from_millis
from berth_api.virtualmachines import Claim


def is_adopted(tools: Tools, uid: str) -> bool:
    """Whether a VM that is bound here goes on with what is here under this UID."""
    return any(former_uid(vm) == uid for vm in tools.view.vms())


async def is_foreign(tools: Tools, uid: str) -> bool:
    """Whether what is here under this UID is another cluster's, by its domain or by the note of its VM.

    Raises:
        HypervisorError, OSError: it could not be looked at, so nothing may be taken down.
    """
    domain, origin = await tools.hypervisor.domain(uid), await tools.origins.of(uid)
    said = (domain.cluster if domain is not None else "", origin.cluster if origin is not None else "")
    return any(tools.origins.is_foreign(cluster) for cluster in said)


def used_by(domain: DomainState, accelerator: str) -> Claim:
    """What a guest that has no claim takes of its node, as a claim would say it. One that is off takes nothing."""
    cpus, memory = domain.vcpus, domain.memory
    active = domain.power.is_active
    needed = memory + memory_overhead(cpus, memory, accelerator)
    return Claim(
        id="none",
        epoch=0,
        cpu=from_millis(cpus * 1000 if active else 0),
        memory=from_bytes(needed if active else 0),
        storage="0",
    )


def set_apart(tools: Tools, domains: Iterable[DomainState]) -> None:
    """Of all domains of this node keep in mind those of other clusters, and count what they use.

    Args:
        tools: Where to.
        domains: A complete list.
    """
    found = [domain for domain in domains if tools.origins.is_foreign(domain.cluster)]
    tools.facts.remains = tuple(sorted(found, key=lambda domain: domain.owner.uid))
    accelerator = tools.facts.capabilities.accelerator
    tools.admissions.set_apart({domain.owner.uid: used_by(domain, accelerator) for domain in found})
