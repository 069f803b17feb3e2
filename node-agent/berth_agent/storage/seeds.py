"""The seed of a VM: a CD of a few hundred KiB that tells cloud-init in the guest who it is (NoCloud).

It holds what the user put into a Secret, so it is for root's eyes, and goes with the VM. It is rewritten only when what
it says changes: the digest of its documents stands in the volume's own descriptor, so that one file tells all.
"""

import hashlib
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pycdlib

from berth_agent.storage import cloud_init
from berth_agent.storage.disk_names import check_uid, is_uid
from berth_agent.storage.durable_files import TEMPORARY_SUFFIX, sync_directory, write_atomically
from berth_agent.storage.threads import run_in_thread

SUFFIX = ".iso"
_VOLUME = "CIDATA"
_PASSABLE = 0o711  # QEMU's user passes through; nobody but root lists
_LAYOUT = b"berth seed 1"  # another layout of the ISO is another digest
# ECMA-119, 8.4: the primary volume descriptor is sector 16, the application identifier its bytes 575 to 702
_APPLICATION_AT = 16 * 2048 + 574
_APPLICATION_BYTES = 128
_UNFINISHED = re.compile(rf"\.(.{{36}}){re.escape(SUFFIX)}\..*{re.escape(TEMPORARY_SUFFIX)}")


class Seeds:
    """The seeds of this node's VMs, a file each in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path_of(self, vm_uid: str) -> Path:
        """Where the VM's seed is, or would be.

        Raises:
            InvalidName: the UID is none.
        """
        return self._directory / f"{check_uid(vm_uid)}{SUFFIX}"

    async def ensure_seed(self, seed: cloud_init.Seed) -> Path:
        """Write the seed if there is none or it says something else.

        Raises:
            InvalidName: the VM's UID is none.
            ValueError: an address in it is none.
        """
        path = self.path_of(seed.vm_uid)
        await run_in_thread(_ensure, path, cloud_init.documents(seed))
        return path

    async def has_seed(self, vm_uid: str) -> bool:
        """Whether the VM has a seed here.

        Raises:
            InvalidName: the UID is none.
        """
        return await run_in_thread(self.path_of(vm_uid).exists)

    async def delete_seed(self, vm_uid: str) -> bool:
        """Delete the VM's seed and what a crash left of it; False if there was nothing.

        Raises:
            InvalidName: the UID is none.
        """
        return await run_in_thread(_delete, self.path_of(vm_uid))

    async def hand_over(self, vm_uid: str, to: str) -> None:
        """Let the seed of one VM be another's. A guest that has it open goes on with it. Repeatable.

        Raises:
            InvalidName: one of the UIDs is none.
        """
        await run_in_thread(_rename, self.path_of(vm_uid), self.path_of(to))

    async def seeds(self) -> frozenset[str]:
        """The UIDs of the VMs that have a seed here, or the rest of one: one directory scan."""
        return await run_in_thread(_scan, self._directory)


def iso_of(documents: Mapping[str, bytes]) -> bytes:
    """Build the ISO9660 image, with Joliet and Rock Ridge so that the names keep their lower case."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident=_VOLUME, joliet=3, rock_ridge="1.09", app_ident_str=digest_of(documents))
    try:
        for number, (name, data) in enumerate(sorted(documents.items())):
            iso.add_fp(io.BytesIO(data), len(data), iso_path=f"/SEED{number}.;1", rr_name=name, joliet_path=f"/{name}")
        target = io.BytesIO()
        iso.write_fp(target)
        return target.getvalue()
    finally:
        iso.close()


def digest_of(documents: Mapping[str, bytes]) -> str:
    """A digest of the documents in upper-case hex, which ECMA-119 lets stand in a descriptor."""
    hashed = hashlib.sha256(_LAYOUT)
    for name, data in sorted(documents.items()):
        hashed.update(f"\0{name}\0{len(data)}\0".encode())
        hashed.update(data)
    return hashed.hexdigest().upper()


def digest_in(path: Path) -> str | None:
    """The digest of the documents that the seed was built from; None if there is no seed."""
    try:
        with path.open("rb") as file:
            file.seek(_APPLICATION_AT)
            return file.read(_APPLICATION_BYTES).decode("ascii", "replace").rstrip()
    except FileNotFoundError:
        return None


def _ensure(path: Path, documents: Mapping[str, bytes]) -> None:
    if digest_in(path) == digest_of(documents):
        return
    path.parent.mkdir(mode=_PASSABLE, parents=True, exist_ok=True)
    write_atomically(path, iso_of(documents))


def _rename(path: Path, new: Path) -> None:
    try:
        path.rename(new)
    except FileNotFoundError:
        return
    sync_directory(new.parent)


def _delete(path: Path) -> bool:
    left = [entry for entry in _entries(path.parent) if _uid_of(entry) == path.stem]
    for name in left:
        (path.parent / name).unlink(missing_ok=True)
    if left:
        sync_directory(path.parent)
    return bool(left)


def _scan(directory: Path) -> frozenset[str]:
    return frozenset(uid for uid in map(_uid_of, _entries(directory)) if uid is not None)


def _entries(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(directory)]
    except FileNotFoundError:
        return []


def _uid_of(file_name: str) -> str | None:
    unfinished = _UNFINISHED.fullmatch(file_name)
    uid = file_name.removesuffix(SUFFIX) if unfinished is None else unfinished[1]
    if uid == file_name or not is_uid(uid):
        return None
    return uid
