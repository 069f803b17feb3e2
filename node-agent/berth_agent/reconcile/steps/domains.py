"""The domain: defined from the object as it is now, started, paused, stopped, forgotten."""

import asyncio
from dataclasses import replace

import structlog

from berth_agent.domain.documents import build
from berth_agent.domain.hardware import parts_of
from berth_agent.domain.requests import DirectKernel, DomainDisk, DomainInterface, DomainRequest
from berth_agent.hypervisor.errors import GuestAgentUnavailable
from berth_agent.hypervisor.states import DomainPower
from berth_agent.network.errors import NetworkError
from berth_agent.reconcile.ownership import current
from berth_agent.reconcile.plan.adoptions import machine_id
from berth_agent.reconcile.plan.desired import Goal
from berth_agent.reconcile.plan.hardware import machine_type
from berth_agent.reconcile.plan.histories import stop_reason
from berth_agent.reconcile.plan.steps import (
    DefineDomain,
    DestroyDomain,
    PlugCPUs,
    PlugMemory,
    ResumeDomain,
    ShutdownDomain,
    StartDomain,
    SuspendDomain,
    UndefineDomain,
)
from berth_agent.reconcile.rounds import ObjectChanged, Round, StepFailed
from berth_agent.reconcile.steps.disks import fetch
from berth_agent.storage.errors import DiskMismatch
from berth_api.quantities import to_bytes
from berth_api.virtualmachines import Disk

log = structlog.get_logger()
_UNTIL_ITS_NEXT_WRITE = 1.0
"""Seconds in which a guest that could not write tries again."""


async def define(_step: DefineDomain, work: Round) -> None:
    """Define the domain; one that is there is redefined and stays as it runs."""
    xml = build(await request_of(work))
    await work.answered()
    await work.tools.hypervisor.define(xml)


async def start(step: StartDomain, work: Round) -> None:
    """Start the domain, once the API server itself has said that this VM should run here, on this claim."""
    mine, claim = work.tools.node_name, work.vm.status.claim
    now = await current(work.tools.api, work.owner)
    if now is None or now.metadata.deletion_timestamp is not None or now.status.node_name != mine:
        raise ObjectChanged("the VM is being deleted or bound elsewhere")
    if now.status.claim is None or claim is None or now.status.claim.id != claim.id:
        raise ObjectChanged("the VM has another claim by now")
    if now.metadata.generation != work.vm.metadata.generation:
        raise ObjectChanged("the spec has changed meanwhile")
    if now.status.stopped_claim == claim.id:
        work.answers = replace(work.answers, stopped=claim.id)
        raise ObjectChanged("the claim's CPU and memory have been given back")
    work.take_in(now.to_api())
    await work.tools.hypervisor.start(work.owner.uid, paused=step.paused, boot_id=work.tools.boot_id)
    _announce(work)


def _announce(work: Round) -> None:
    """Peers may still have the MAC of whoever had the address before. Not worth failing a start that succeeded."""
    for attachment in work.attachments.values():
        try:
            work.tools.attachments.announce(work.owner.uid, attachment)
        except NetworkError as error:
            log.warning("address not announced", **work.owner.fields, error=str(error))


async def resume(_step: ResumeDomain, work: Round) -> None:
    """Let the guest go on. One that stands because a disk cannot be written would stand again at once: with pauses."""
    await work.tools.hypervisor.resume(work.owner.uid, boot_id=work.tools.boot_id)
    if work.observed.reason != "IOError":
        return
    await asyncio.sleep(_UNTIL_ITS_NEXT_WRITE)
    domain = await work.tools.hypervisor.domain(work.owner.uid)
    if domain is not None and domain.power is DomainPower.PAUSED:
        message = "a disk of the guest cannot be written, so it stands: make room in the storage pool"
        raise StepFailed("GuestDiskError", message, retryable=True)


async def suspend(_step: SuspendDomain, work: Round) -> None:
    """Stop the guest's CPUs."""
    await work.tools.hypervisor.suspend(work.owner.uid)


async def plug_cpus(step: PlugCPUs, work: Round) -> None:
    """Give the running guest CPUs, or take some away."""
    await work.tools.hypervisor.set_vcpus(work.owner.uid, step.cpus)


async def plug_memory(step: PlugMemory, work: Round) -> None:
    """Give the running guest memory, or ask some back."""
    await work.tools.hypervisor.set_memory(work.owner.uid, step.memory)


async def shut_down(step: ShutdownDomain, work: Round) -> None:
    """Ask the guest to stop. One that does not hear it now is told again in the next round.

    What is going on is reported before: whoever sees the guest off afterwards must know that it was asked to.
    """
    await work.report(work)
    hypervisor, uid = work.tools.hypervisor, work.owner.uid
    reason = "" if work.vm.metadata.deletion_timestamp is not None else stop_reason(work.vm, work.observed)
    if step.by_agent:
        try:
            await hypervisor.shutdown(uid, mode="agent", reason=reason)
        except GuestAgentUnavailable as error:
            log.info("guest agent does not answer, pressing the power button", **work.owner.fields, error=str(error))
        else:
            return
    await hypervisor.shutdown(uid, reason=reason)


async def destroy(_step: DestroyDomain, work: Round) -> None:
    """Pull the plug.

    Why a guest that fails its probe goes down is reported before: nobody could tell it afterwards.
    """
    if work.observed.live is False and work.desired.goal is Goal.RESTART:
        await work.report(work)
    await work.tools.hypervisor.destroy(work.owner.uid)


async def undefine(_step: UndefineDomain, work: Round) -> None:
    """Forget the domain, with its NVRAM."""
    await work.tools.hypervisor.undefine(work.owner.uid)


async def request_of(work: Round) -> DomainRequest:
    """Everything that the domain's XML is made from, as it is on this node now."""
    tools, vm = work.tools, work.vm
    cpu, memory = tools.view.size(vm)
    machine, restarted_at = machine_type(vm, tools.facts.capabilities.default_machine_type), vm.spec.restarted_at
    return DomainRequest(
        namespace=work.owner.namespace,
        name=work.owner.name,
        uid=work.owner.uid,
        claim_id=vm.status.claim.id if vm.status.claim is not None else "none",
        generation=vm.metadata.generation,
        cpu=cpu,
        memory=to_bytes(memory.size),
        memory_max=None if memory.max_size is None else to_bytes(memory.max_size),
        accelerator=tools.facts.capabilities.accelerator,
        machine_type=machine,
        firmware=vm.spec.firmware,
        disks=tuple([await _disk(work, disk) for disk in vm.spec.disks]),
        seed_path=str(tools.seeds.path_of(work.owner.uid)),
        interfaces=tuple(_interface(work, nic.name) for nic in vm.spec.interfaces),
        kernel=await _kernel(work),
        console_log_path=str(tools.consoles.path_of(work.owner.uid)),
        restarted_at="" if restarted_at is None else restarted_at.isoformat(),
        cluster=tools.origins.cluster,
        machine_id=machine_id(vm, work.observed.domain_uuid),
        parts=parts_of(vm.spec, cpu, memory, machine),
    )


async def _disk(work: Round, disk: Disk) -> DomainDisk:
    found = await work.tools.disks.disk(vm_uid=work.owner.uid, disk_name=disk.name, pool_name=disk.pool)
    if found is None:
        raise DiskMismatch(f"disk {disk.name} has vanished")
    return DomainDisk(
        name=disk.name, path=str(found.path), format=found.format.value, bus=disk.bus, boot_order=disk.boot_order
    )


def _interface(work: Round, name: str) -> DomainInterface:
    attachment = work.attachments[name]
    return DomainInterface(
        name=name,
        tap_device=attachment.tap_device,
        mac_address=attachment.mac_address,
        mtu=attachment.mtu,
        queues=attachment.queues,
    )


async def _kernel(work: Round) -> DirectKernel | None:
    kernel = work.vm.spec.firmware.kernel
    if kernel is None:
        return None
    initrd = await fetch(work, kernel.initrd_ref) if kernel.initrd_ref is not None else None
    return DirectKernel(
        path=str((await fetch(work, kernel.image_ref)).path),
        initrd_path=str(initrd.path) if initrd is not None else None,
        command_line=kernel.command_line,
    )
