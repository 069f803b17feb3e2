"""Disks that are born with a VM and die with it."""

from berth_agent.reconcile.plan.steps import CreateDisk, DeleteDisks
from berth_agent.reconcile.rounds import Round, Tools
from berth_agent.storage.sources import CachedImage, FileSource, HttpSource
from berth_api.quantities import to_bytes
from berth_api.virtualmachineimages import ImageSpec
from berth_api.virtualmachines import ImageReference, VirtualMachine


async def create(step: CreateDisk, work: Round) -> None:
    """Fetch the image, if the disk is born from one, and make the disk."""
    disk = next(disk for disk in work.vm.spec.disks if disk.name == step.disk)
    image = None
    if disk.image_ref is not None:
        image = await fetch(work, disk.image_ref)
    await work.tools.disks.ensure_disk(
        vm_uid=work.owner.uid,
        disk_name=disk.name,
        pool_name=disk.pool,
        size=to_bytes(disk.size or "0"),
        image=image,
    )


async def fetch(work: Round, reference: ImageReference) -> CachedImage:
    """The image on this node, fetched if it is not here yet."""
    spec = work.tools.view.image(reference, work.owner.namespace)
    if not await work.tools.images.holds(spec.checksum):
        await work.say(f"fetching {reference.kind} {reference.name}")
    return await ensure_image(work.tools, spec)


async def ensure_image(tools: Tools, spec: ImageSpec) -> CachedImage:
    """Fetch an image from where its object says."""
    source = spec.source
    origin = (
        HttpSource(url=source.http.url) if source.http else FileSource(path=source.file.path if source.file else "")
    )
    return await tools.images.ensure(origin, spec.checksum)


def pools_of(vm: VirtualMachine | None) -> frozenset[str] | None:
    """The pools that a VM has, or had, disks in; None: nobody can tell any more."""
    if vm is None:
        return None
    claimed = vm.status.claim.pools if vm.status.claim is not None else ()
    return frozenset((*(disk.pool for disk in vm.spec.disks), *(pool.name for pool in claimed)))


async def known_pools(work: Round, *former: str) -> frozenset[str] | None:
    """The same by the note of the VM, too: a disk that left the spec may lie in a pool that neither of them names.

    Args:
        work: The VM's.
        former: UIDs under which it was known here before.
    """
    pools = pools_of(work.object)
    for uid in (work.owner.uid, *former) if pools is not None else ():
        origin = await work.tools.origins.of(uid) if uid else None
        pools = (pools or frozenset()) | frozenset(origin.pools if origin is not None else ())
    return pools


async def delete(_step: DeleteDisks, work: Round) -> None:
    """Delete all disks of the VM, and its console's log.

    Without an object that says so, disks on a shared pool stay: the VM may run on them elsewhere.
    """
    shared = work.tools.facts.pools.shared if work.object is None else frozenset()
    await work.tools.disks.delete_disks(work.owner.uid, leave_out=shared, known=await known_pools(work))
    await work.tools.consoles.delete(work.owner.uid)
