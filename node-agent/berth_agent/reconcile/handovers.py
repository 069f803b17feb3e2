"""Guests that are another cluster's, and those that go on as a VM of this one. See decision 0012.

That the API server has no object for a guest means that it may go only in the cluster that made it. And of a VM that
adopts a guest, what is here under the guest's former UID is that VM's, from the moment that its claim says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_interface
from re import fullmatch

import structlog

from berth_agent.hypervisor.states import DomainOwner, DomainState
from berth_agent.network.attachments import AttachmentState
from berth_agent.node.facts import Remains
from berth_agent.node.origins import Origin
from berth_agent.reconcile.plan.adoptions import former_uid
from berth_agent.reconcile.rounds import Tools
from berth_api.hypervisors import RemainingInterface, RemainingPool
from berth_api.overhead import memory_overhead
from berth_api.quantities import from_bytes, from_millis
from berth_api.virtualmachines import MAC_ADDRESS, Claim, ClaimedPool

log = structlog.get_logger()
_Pools = Mapping[str, int]
_MOST_ADDRESSES = 4
"""What the API takes: see `RemainingInterface`."""
_LEFT_OVER = "left over"
"""Stands for a UID: what there is without a guest counts as one claim, or many an old disk would leave no slot."""


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


async def set_apart(tools: Tools, domains: Iterable[DomainState], *, search: bool = True) -> None:
    """Of all that is on this node keep in mind what is another cluster's, and count what it uses.

    What a note is about may lie in a pool that does not answer now. It counts as there until all pools have answered:
    what is not told at first may never be told (`agent-hypervisors.yaml` of the policies).

    Args:
        tools: Where to.
        domains: A complete list.
        search: Look for disks anew. Without it they are as they were last seen.

    Raises:
        NetworkError, OSError: the node could not be looked at; what was kept in mind before stays.
    """
    foreign = {domain.owner.uid: domain for domain in domains if tools.origins.is_foreign(domain.cluster)}
    uids = foreign.keys() | await tools.origins.foreign()
    disks = await _disks(tools, uids) if search and uids else {r.owner.uid: r.pools for r in tools.facts.remains}
    nics = await tools.attachments.observe() if uids else {}
    found = []
    for uid in sorted(uids):
        domain, origin = foreign.get(uid), await tools.origins.of(uid)
        if domain is not None or uid in disks or uid in nics:
            found.append(_remains(uid, domain, origin, disks.get(uid, {}), nics.get(uid, ())))
    tools.facts.remains, tools.facts.knows_remains = tuple(found), True
    tools.admissions.set_apart(_used(found, tools.facts.capabilities.accelerator))


async def _disks(tools: Tools, uids: Iterable[str]) -> Mapping[str, _Pools]:
    """Whose disks are here, and what they take. In pools that cannot be searched they are as they were last seen."""
    wanted = frozenset(uids)
    seen, missed = await tools.disks.sizes(wanted)
    if not missed:
        return seen
    before = {remains.owner.uid: remains.pools for remains in tools.facts.remains}
    known: dict[str, _Pools] = {}
    for uid in wanted:
        kept = {pool: size for pool, size in before.get(uid, {}).items() if pool in missed}
        origin = await tools.origins.of(uid)
        if uid in seen or kept or (origin is not None and origin.name):
            known[uid] = {**seen.get(uid, {}), **kept}
    return known


def used_by(remains: Remains, accelerator: str) -> Claim:
    """What a guest that has no claim takes of its node, as a claim would say it. One that is off takes storage only."""
    domain, cpu, memory = remains.domain, 0, 0
    if domain is not None and domain.power.is_active:
        cpu = domain.vcpus * 1000
        memory = domain.memory + memory_overhead(domain.vcpus, domain.memory, accelerator)
    return _claim(cpu, memory, remains.pools)


def pools_of(remains: Remains) -> tuple[RemainingPool, ...]:
    """What its disks take, as the Hypervisor tells it."""
    return tuple(RemainingPool(name=name, size=from_bytes(size)) for name, size in sorted(remains.pools.items()))


def _used(found: Iterable[Remains], accelerator: str) -> dict[str, Claim]:
    """What is to be counted, by UID; all that has no guest as one."""
    claims: dict[str, Claim] = {}
    left_over: dict[str, int] = {}
    for remains in found:
        if remains.domain is not None:
            claims[remains.owner.uid] = used_by(remains, accelerator)
            continue
        for name, size in remains.pools.items():
            left_over[name] = left_over.get(name, 0) + size
    return {**claims, _LEFT_OVER: _claim(0, 0, left_over)} if left_over else claims


def _claim(cpu: int, memory: int, pools: _Pools) -> Claim:
    return Claim(
        id="none",
        epoch=0,
        cpu=from_millis(cpu),
        memory=from_bytes(memory),
        storage=from_bytes(sum(pools.values())),
        pools=tuple(ClaimedPool(name=name, size=from_bytes(size)) for name, size in sorted(pools.items())),
    )


def _remains(
    uid: str, domain: DomainState | None, origin: Origin | None, pools: _Pools, nics: tuple[AttachmentState, ...]
) -> Remains:
    """Its domain says best whose it was; then the note of it, then the record of a NIC."""
    owner = DomainOwner("", "", uid)
    if domain is not None:
        owner = domain.owner
    elif origin is not None and origin.name:
        owner = DomainOwner(origin.namespace, origin.name, uid)
    elif nics:
        owner = DomainOwner(nics[0].namespace, nics[0].vm_name, uid)
    return Remains(owner, domain, pools, tuple(_interfaces(nics)))


def _interfaces(nics: Iterable[AttachmentState]) -> Iterator[RemainingInterface]:
    """Those that the API server takes: a chain may give a NIC an address that no claim could have."""
    for nic in nics:
        if nic.attachment is None or not fullmatch(MAC_ADDRESS, nic.attachment.mac_address):
            continue
        try:
            yield RemainingInterface(
                name=nic.interface,
                network_name=nic.network_name,
                mac_address=nic.attachment.mac_address,
                ip_addresses=tuple(
                    str(ip_interface(text).ip) for text in nic.attachment.ip_addresses[:_MOST_ADDRESSES]
                ),
            )
        except ValueError as error:  # an address that is none, or what the API's model does not take
            log.warning("a NIC of another cluster's guest is not told", nic=nic.interface, error=str(error))
