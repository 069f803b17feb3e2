"""Look at what is on this node of a VM: the domain, the attachments, the disks, the seed.

Each part is asked of what really holds it (libvirt, the kernel, the file system), never of memory.
"""

from collections.abc import Iterable
from dataclasses import replace

import structlog

from berth_agent.hypervisor.states import DomainPower, DomainState
from berth_agent.network.attachments import AttachmentState
from berth_agent.reconcile.plan.adoptions import former_uid
from berth_agent.reconcile.plan.observed import Observed, ObservedDisk, ObservedInterface, Power
from berth_agent.reconcile.rounds import Tools
from berth_agent.storage.disks import Disk as FoundDisk
from berth_agent.storage.errors import StorageError
from berth_api.virtualmachines import Disk, VirtualMachine

log = structlog.get_logger()

_POWERS = {
    DomainPower.RUNNING: Power.RUNNING,
    DomainPower.PM_SUSPENDED: Power.RUNNING,
    DomainPower.PAUSED: Power.PAUSED,
    DomainPower.SHUTTING_DOWN: Power.STOPPING,
    DomainPower.SHUT_OFF: Power.OFF,
    DomainPower.CRASHED: Power.CRASHED,
}


async def observe(tools: Tools, vm: VirtualMachine) -> Observed:
    """What is here of a VM whose object is known.

    Raises:
        HypervisorError, NetworkError, StorageError, OSError: a part could not be looked at.
    """
    uid = vm.metadata.uid
    domain = await tools.hypervisor.domain(uid)
    targets = {disk.serial: disk.target for disk in domain.disks} if domain is not None else {}
    disks: dict[str, ObservedDisk] = {}
    for wanted in vm.spec.disks:
        found = await _disk(tools, uid, wanted)
        if found is not None:
            disks[wanted.name] = ObservedDisk(
                name=wanted.name,
                path=str(found.path),
                capacity=found.capacity,
                digest=found.backing_digest or "",
                target=targets.get(wanted.name, ""),
            )
    observed = replace(await _observe_around(tools, uid, domain), disks=disks)
    return replace(observed, to_adopt=await _is_to_adopt(tools, vm, domain, observed))


async def _is_to_adopt(tools: Tools, vm: VirtualMachine, domain: DomainState | None, observed: Observed) -> bool:
    """Whether the records of what is here have yet to say that it is this VM's, of this cluster."""
    former, origin = former_uid(vm), await tools.origins.of(vm.metadata.uid)
    if former and (origin is None or origin.former != former):
        return True
    if observed.nothing or not tools.origins.cluster:
        return False
    said = (domain.cluster if domain is not None else None, origin.cluster if origin is not None else "")
    return any(cluster not in (None, tools.origins.cluster) for cluster in said)


async def _disk(tools: Tools, uid: str, wanted: Disk) -> FoundDisk | None:
    """The disk; None also where it cannot be read: whoever makes it will say why, and a delete does not need it."""
    try:
        return await tools.disks.disk(vm_uid=uid, disk_name=wanted.name, pool_name=wanted.pool)
    except StorageError as error:
        log.warning("disk cannot be read", uid=uid, disk=wanted.name, reason=error.reason, error=str(error))
        return None


async def observe_remains(tools: Tools, uid: str) -> Observed:
    """What is here of a VM that may have no object any more; its disks are found when they are deleted.

    Raises:
        HypervisorError, NetworkError: a part could not be looked at.
    """
    return await _observe_around(tools, uid, await tools.hypervisor.domain(uid))


async def _observe_around(tools: Tools, uid: str, domain: DomainState | None) -> Observed:
    attachments = await tools.attachments.observe(uid)
    around = Observed(
        interfaces=_interfaces(attachments.get(uid, ())),
        has_seed=await tools.seeds.has_seed(uid),
        node_boot_id=tools.boot_id,
    )
    if domain is None:
        return around
    return replace(
        around,
        power=_POWERS[domain.power],
        domain_uuid=domain.uuid,
        machine_type=domain.machine_type,
        guest_agent_connected=domain.guest_agent_connected,
        reason=domain.power_reason,
        started_at=domain.started_at,
        claim_id=domain.claim_id,
        asked_to_stop_at=domain.asked_to_stop_at,
        asked_to_stop_for=domain.asked_to_stop_for,
        restarted_at=domain.restarted_at,
        boot_id=domain.boot_id,
        parts=domain.parts,
        vcpus=domain.vcpus,
        max_vcpus=domain.max_vcpus,
        boot_memory=domain.boot_memory,
        memory=domain.memory,
        max_memory=domain.max_memory,
    )


def _interfaces(states: Iterable[AttachmentState]) -> dict[str, ObservedInterface]:
    return {state.interface: _interface(state) for state in states}


def _interface(state: AttachmentState) -> ObservedInterface:
    seen = ObservedInterface(
        name=state.interface,
        intact=state.attachment is not None and state.broken is None,
        network_name=state.network_name,
        problem=state.broken or "",
    )
    if state.attachment is None:
        return seen
    return replace(
        seen,
        device=state.attachment.tap_device,
        sandbox=state.attachment.sandbox,
        mac_address=state.attachment.mac_address,
        ip_addresses=state.attachment.ip_addresses,
        gateway=state.attachment.gateway,
    )
