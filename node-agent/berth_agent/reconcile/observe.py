"""Look at what is on this node of a VM: the domain, the attachments, the disks, the seed.

Each part is asked of what really holds it (libvirt, the kernel, the file system), never of memory.
"""

from collections.abc import Mapping

from berth_agent.hypervisor.states import DomainPower, DomainState
from berth_agent.network.attachments import AttachmentState
from berth_agent.reconcile.plan.observed import Observed, ObservedDisk, ObservedInterface, Power
from berth_agent.reconcile.rounds import Tools
from berth_api.virtualmachines import VirtualMachine


async def observe(tools: Tools, vm: VirtualMachine) -> Observed:
    """What is here of a VM whose object is known.

    Raises:
        HypervisorError, NetworkError, StorageError: a part could not be looked at.
    """
    uid = vm.metadata.uid
    seen = await observe_remains(tools, uid)
    disks: dict[str, ObservedDisk] = {}
    for wanted in vm.spec.disks:
        found = await tools.disks.disk(vm_uid=uid, disk_name=wanted.name, pool_name=wanted.pool)
        if found is not None:
            digest = found.backing_digest or ""
            disks[wanted.name] = ObservedDisk(wanted.name, str(found.path), found.capacity, digest)
    return Observed(
        power=seen.power,
        domain_uuid=seen.domain_uuid,
        machine_type=seen.machine_type,
        guest_agent_connected=seen.guest_agent_connected,
        failed=seen.failed,
        interfaces=seen.interfaces,
        disks=disks,
        has_seed=seen.has_seed,
    )


async def observe_remains(tools: Tools, uid: str) -> Observed:
    """What is here of a VM that may have no object any more; its disks are found when they are deleted.

    Raises:
        HypervisorError, NetworkError: a part could not be looked at.
    """
    domain = await tools.hypervisor.domain(uid)
    attachments = await tools.attachments.observe(uid)
    interfaces = _interfaces(attachments)
    has_seed = tools.seeds.path_of(uid).exists()
    if domain is None:
        return Observed(interfaces=interfaces, has_seed=has_seed)
    return Observed(
        power=_POWERS[domain.power],
        domain_uuid=domain.uuid,
        machine_type=domain.machine_type,
        guest_agent_connected=domain.guest_agent_connected,
        failed=domain.failed,
        interfaces=interfaces,
        has_seed=has_seed,
    )
