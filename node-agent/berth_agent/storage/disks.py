"""The disks that live and die with their VMs: qcow2 files in a pool's directory, blank or on a cached image.

The races it faces: a crash between any two steps, the same disk asked for twice, a delete while it is being made, and
on a shared pool a second node. So a disk is made beside its place and linked into it, which fails where something is
there already: no disk that a guest has written to is ever replaced. The guest's own header is read by us, never probed.
"""

import asyncio
import errno
import os
import stat
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import structlog

from berth_agent.storage import qcow2
from berth_agent.storage.disk_names import check_uid, disk_file, parse_disk_file
from berth_agent.storage.durable_files import sync_directory, sync_file
from berth_agent.storage.errors import (
    DiskMismatch,
    DiskSmallerThanImage,
    ImageNotFound,
    ImageRejected,
    InvalidSize,
    PoolUnavailable,
    StorageError,
)
from berth_agent.storage.image_tool import ImageTool
from berth_agent.storage.lanes import Lane, Lanes
from berth_agent.storage.pools import Pools
from berth_agent.storage.settings import ImageLimits
from berth_agent.storage.sources import CachedImage, Digest, ImageFormat

_LOG = structlog.get_logger(__name__)

_SECTOR = 512
_TEMPORARY_PREFIX = ".making-"


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk that is there.

    Attributes:
        path: the file.
        capacity: what the guest sees, in bytes.
        format: what QEMU is to be told; never probed.
        backing_digest: ``sha256:<hex>`` of the image below, None for a blank disk.
        backing_path: the image's file, None for a blank disk; the domain states the whole chain.
        backing_format: its format.
    """

    path: Path
    capacity: int
    format: ImageFormat = ImageFormat.QCOW2
    backing_digest: str | None = None
    backing_path: Path | None = None
    backing_format: ImageFormat | None = None


class Disks:
    """The VMs' own disks on this node."""

    def __init__(self, pools: Pools, *, limits: ImageLimits | None = None, lanes: Lanes | None = None) -> None:
        self._pools = pools
        self._lanes = lanes or Lanes()
        self._limits = limits or ImageLimits()
        self._tool = ImageTool(self._limits)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # as long as anybody holds or waits

    async def ensure_disk(
        self, *, vm_uid: str, disk_name: str, pool_name: str, size: int, image: CachedImage | None = None
    ) -> Disk:
        """Return the disk, making it if it is not there.

        Args:
            vm_uid: the VM's UID; with `disk_name` it makes the file name.
            disk_name: an RFC 1123 label.
            pool_name: a pool of this node.
            size: in bytes, rounded up to a sector.
            image: what it is born from; None for a blank disk.

        Raises:
            InvalidName: one of the names could not be part of a file name.
            PoolUnavailable: the pool is not here.
            InvalidSize: no disk of that size can be made.
            DiskSmallerThanImage: the image does not fit.
            DiskMismatch: there is such a disk, of another size or on another image.
            ImageNotFound: the cached image is gone meanwhile; ensure it again.
            ImageToolFailed: qemu-img failed.
            StorageHangs: the pool's file system does not answer.
        """
        name = disk_file(vm_uid, disk_name)
        path = self._pools.directory_of(pool_name) / name
        wanted = _wanted(path, disk_name, size, image, max_size=self._limits.max_virtual_size)
        lane = self._lanes.of(pool_name)
        async with self._lock_of(vm_uid):
            existing = await lane.look(_read_disk, wanted.path)
            if existing is None:
                await self._make(wanted, lane)
                existing = await lane.look(_read_disk, wanted.path)
            _refuse_other(existing, wanted, disk_name)
            return wanted

    async def delete_disks(
        self, vm_uid: str, *, leave_out: Collection[str] = (), known: Collection[str] | None = None
    ) -> int:
        """Delete all disks of the VM in all pools but those left out, and what a crash left of them; how many?

        The pools are searched beside each other: one that does not answer holds up no other.

        Args:
            vm_uid: the VM's UID.
            leave_out: pools that are not touched.
            known: pools that the VM has disks in, if that is known: in others there should be none, so where one of
                them cannot be looked into, an audit is to find what is left there.

        Raises:
            InvalidName: the UID is none.
            PoolUnavailable, StorageHangs, OSError: a pool cannot be looked into, or something stays in it. The others
                were searched.
        """
        check_uid(vm_uid)
        needed = frozenset(self._pools.unready()).intersection(known or ())
        pools = sorted(needed.union(self._pools.names()).difference(leave_out))
        async with self._lock_of(vm_uid):
            outcomes = await asyncio.gather(
                *(self._delete_in(pool, vm_uid, known=known is None or pool in known) for pool in pools),
                return_exceptions=True,
            )
        deleted = 0
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            deleted += outcome
        return deleted

    async def hand_over(self, vm_uid: str, to: str, *, known: Collection[str]) -> None:
        """Let all disks of one VM be another's, under its name; a guest that has them open goes on with them.

        Each is under one of the two names at any moment, and repeating it goes on with what is left.

        Args:
            vm_uid: UID of the VM that has had them.
            to: UID of the VM that has them from now on.
            known: pools that the VM has disks in; others are searched after them, those that do not answer left out.

        Raises:
            InvalidName: one of the UIDs is none.
            DiskMismatch: the other VM has such a disk already.
            PoolUnavailable, StorageHangs, OSError: a pool that is known cannot be looked into.
        """
        check_uid(vm_uid)
        check_uid(to)
        async with self._lock_of(vm_uid):
            for pool in sorted({*self._pools.names(), *known}, key=lambda name: (name not in known, name)):
                try:
                    directory, lane = self._pools.directory_of(pool), self._lanes.of(pool)
                    if any(uid == vm_uid for uid, _ in await lane.look(_scan, directory)):
                        await lane.change(_rename_in, directory, vm_uid, to)
                except (StorageError, OSError) as error:
                    if pool in known or isinstance(error, DiskMismatch):
                        raise
                    _LOG.warning("a pool was not searched for disks to hand over", pool=pool, error=str(error))

    async def disk(self, *, vm_uid: str, disk_name: str, pool_name: str) -> Disk | None:
        """The disk as its own header describes it, or None where there is none; its image is not needed for that.

        Raises:
            InvalidName: one of the names could not be part of a file name.
            PoolUnavailable: the pool is not here.
            DiskMismatch: there is something that is not a disk of ours.
            StorageHangs: the pool's file system does not answer.
        """
        path = self._pools.directory_of(pool_name) / disk_file(vm_uid, disk_name)
        return await self._lanes.of(pool_name).look(_read_disk, path)

    async def observe(self, *, leave_out: Collection[str] = ()) -> Mapping[str, frozenset[str]]:
        """Which VMs, by UID, have which disks here: one directory scan per pool, but for those left out.

        What a crash left unfinished counts as a disk: its VM has something to delete. On a shared pool other nodes'
        VMs are among them. A pool that cannot be looked into is passed over: what is there is found another time.
        """
        found: defaultdict[str, set[str]] = defaultdict(set)
        for pool in sorted(set(self._pools.names()).difference(leave_out)):
            try:
                scanned = await self._lanes.of(pool).look(_scan, self._pools.directory_of(pool))
            except (StorageError, OSError) as error:
                _LOG.warning("a pool was not searched for disks", pool=pool, error=str(error))
                continue
            for uid, name in scanned:
                found[uid].add(name)
        return {uid: frozenset(names) for uid, names in found.items()}

    async def sizes(self, vm_uids: Collection[str]) -> tuple[Mapping[str, Mapping[str, int]], frozenset[str]]:
        """Bytes that the disks of VMs may come to take, by UID and pool, and the pools that could not be searched."""
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        missed = set(self._pools.unready())
        for pool in sorted(self._pools.names()):
            try:
                directory, lane = self._pools.directory_of(pool), self._lanes.of(pool)
                named = [(uid, name) for uid, name in await lane.look(_scan, directory) if uid in vm_uids]
                for uid, name in named:
                    size = await lane.look(_capacity, directory / disk_file(uid, name))
                    found[uid][pool] = found[uid].get(pool, 0) + size
            except (StorageError, OSError) as error:
                _LOG.warning("a pool was not searched for others' disks", pool=pool, error=str(error))
                missed.add(pool)
        return found, frozenset(missed)

    async def backing_digests(self) -> frozenset[str]:
        """The digests of all images that disks here stand on: what the image cache must keep.

        Raises:
            PoolUnavailable, StorageHangs: a pool is not ready, or cannot be looked into: any image may be needed.
        """
        digests: set[str] = set()
        for pool in sorted({*self._pools.unready(), *self._pools.names()}):
            directory, lane = self._pools.directory_of(pool), self._lanes.of(pool)
            for name in await lane.look(_disk_files, directory):
                digest = await lane.look(_backing_digest, directory / name)
                digests |= set() if digest is None else {digest}
        return frozenset(digests)

    async def _delete_in(self, pool: str, vm_uid: str, *, known: bool) -> int:
        """Look first, which takes less patience than a change: few pools have anything to delete."""
        try:
            directory, lane = self._pools.directory_of(pool), self._lanes.of(pool)
            names = await lane.look(_files_of, directory, vm_uid)
        except (StorageError, OSError) as error:
            _LOG.warning("a pool was not searched for disks to delete", pool=pool, uid=vm_uid, error=str(error))
            if known:
                raise
            return 0
        return await lane.change(_unlink, directory, names) if names else 0

    async def _make(self, wanted: Disk, lane: Lane) -> None:
        temporary = wanted.path.with_name(_TEMPORARY_PREFIX + wanted.path.name)
        await lane.change(_prepare, temporary, wanted.backing_path)
        backing = None
        if wanted.backing_path is not None and wanted.backing_format is not None:
            backing = (wanted.backing_path, wanted.backing_format)
        try:
            await self._tool.create_overlay(temporary, size=wanted.capacity, backing=backing)
            await lane.change(_put_in_place, temporary, wanted.path)
        finally:
            await lane.change(temporary.unlink, missing_ok=True)

    def _lock_of(self, vm_uid: str) -> asyncio.Lock:
        """One at a time per VM: a delete waits for the making to end, and finds all of it."""
        return self._locks.setdefault(vm_uid, asyncio.Lock())


def _wanted(path: Path, disk_name: str, size: int, image: CachedImage | None, *, max_size: int) -> Disk:
    if not 0 < size <= max_size:
        raise InvalidSize(f"disk {disk_name} has a size of {size} bytes: give it {_SECTOR} to {max_size}")
    capacity = -(-size // _SECTOR) * _SECTOR
    if image is None:
        return Disk(path=path, capacity=capacity)
    if capacity < image.virtual_size:
        raise DiskSmallerThanImage(disk=disk_name, size=size, virtual_size=image.virtual_size)
    return Disk(
        path=path,
        capacity=capacity,
        backing_digest=image.digest,
        backing_path=image.path,
        backing_format=image.format,
    )


def _refuse_other(existing: Disk | None, wanted: Disk, disk_name: str) -> None:
    if existing == wanted:
        return
    if existing is None:
        raise DiskMismatch(f"disk {disk_name} vanished while it was being made")
    if existing.capacity != wanted.capacity:
        difference = f"it has {existing.capacity} bytes, not {wanted.capacity}"
    else:
        difference = f"it stands on {existing.backing_digest or 'nothing'}, not on {wanted.backing_digest or 'nothing'}"
        if existing.backing_digest == wanted.backing_digest:
            difference = f"its image is expected at {existing.backing_path}, not at {wanted.backing_path}"
    raise DiskMismatch(
        f"disk {disk_name} exists and is another one: {difference}; it is left as it is: set the spec back, or delete "
        f"the VirtualMachine to start over"
    )


def _read_disk(path: Path) -> Disk | None:
    """Read what is there from its own header; None if nothing is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DiskMismatch(f"{path.name} cannot be read as a disk: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DiskMismatch(f"{path.name} is not a regular file")
        return _disk_of(path, qcow2.parse(os.pread(descriptor, qcow2.HEADER_BYTES, 0)))
    except ImageRejected as error:
        raise DiskMismatch(f"{path.name} is not a disk of ours: {error}") from error
    finally:
        os.close(descriptor)


def _disk_of(path: Path, header: qcow2.Qcow2Header) -> Disk:
    if header.backing_file is None:
        return Disk(path=path, capacity=header.virtual_size)
    backing = Path(os.fsdecode(header.backing_file))
    digest = Digest.from_directory_name(backing.parent.name)
    try:
        backing_format = ImageFormat(header.backing_format or "")
    except ValueError as error:
        raise DiskMismatch(f"{path.name} names its image's format as {header.backing_format!r}") from error
    if digest is None:
        raise DiskMismatch(f"{path.name} stands on something that is not a cached image")
    return Disk(
        path=path,
        capacity=header.virtual_size,
        backing_digest=str(digest),
        backing_path=backing,
        backing_format=backing_format,
    )


def _prepare(temporary: Path, backing: Path | None) -> None:
    if not temporary.parent.is_dir():
        raise PoolUnavailable(f"the pool's directory {temporary.parent} is not there: is its file system mounted?")
    temporary.unlink(missing_ok=True)
    if backing is not None and not backing.is_file():
        raise ImageNotFound(f"the image {backing.parent.name} is not in this node's cache any more")


def _put_in_place(temporary: Path, final: Path) -> None:
    sync_file(temporary)
    try:
        os.link(temporary, final)
    except FileExistsError:
        _LOG.warning("a disk appeared while it was being made; it is kept", disk=final.name)
    temporary.unlink()
    sync_directory(final.parent)


def _entries(directory: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(directory))
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.EIO}:
            raise PoolUnavailable(f"the pool's directory {directory} cannot be read: {error.strerror}") from error
        raise


def _scan(directory: Path) -> list[tuple[str, str]]:
    parsed = (parse_disk_file(name.removeprefix(_TEMPORARY_PREFIX)) for name in _entries(directory))
    return [found for found in parsed if found is not None]


def _files_of(directory: Path, vm_uid: str) -> list[str]:
    parsed = ((name, parse_disk_file(name.removeprefix(_TEMPORARY_PREFIX))) for name in _entries(directory))
    return [name for name, found in parsed if found is not None and found[0] == vm_uid]


def _unlink(directory: Path, names: Collection[str]) -> int:
    for name in names:
        (directory / name).unlink(missing_ok=True)
    sync_directory(directory)
    return sum(not name.startswith(_TEMPORARY_PREFIX) for name in names)


def _rename_in(directory: Path, vm_uid: str, to: str) -> None:
    """A link first, which fails where something else is there: no disk that a guest has written to is ever replaced."""
    renamed = False
    for name in _entries(directory):
        parsed = parse_disk_file(name)
        if parsed is None or parsed[0] != vm_uid:
            continue
        old, new = directory / name, directory / disk_file(to, parsed[1])
        try:
            os.link(old, new, follow_symlinks=False)
        except FileExistsError:
            if not old.samefile(new):
                raise DiskMismatch(
                    f"disk {parsed[1]} is there twice, as {old.name} and as {new.name}: one of them has to go"
                ) from None
        old.unlink()
        renamed = True
    if renamed:
        sync_directory(directory)


def _disk_files(directory: Path) -> list[str]:
    return [name for name in _entries(directory) if parse_disk_file(name) is not None]


def _capacity(path: Path) -> int:
    """What the guest sees of a disk; of what cannot be read, what it takes now."""
    try:
        disk = _read_disk(path)
    except DiskMismatch:
        return path.lstat().st_size
    return disk.capacity if disk is not None else 0


def _backing_digest(path: Path) -> str | None:
    try:
        disk = _read_disk(path)
    except DiskMismatch as error:
        _LOG.warning("a disk cannot be read; no image is kept for it", disk=path.name, error=str(error))
        return None
    return disk.backing_digest if disk is not None else None
