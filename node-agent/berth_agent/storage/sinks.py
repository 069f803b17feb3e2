"""The file that an image's bytes arrive in: hashed and counted as they come, within the limits, synced at the end."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from berth_agent.storage.errors import ImageTooLarge, InsufficientStorage
from berth_agent.storage.settings import DownloadLimits
from berth_agent.storage.sources import Digest, Progress
from berth_agent.storage.threads import run_in_thread

WRITE_BYTES = 1 << 20
"""Collected before a thread is asked to hash and write: a few milliseconds of work, worth the hand-over."""


class ImageSink:
    """One image being written.

    Not for use by two tasks at once. The file stays where it is when something fails: its directory is the caller's.
    """

    def __init__(self, path: Path, *, limits: DownloadLimits, progress: Progress | None = None) -> None:
        self._path = path
        self._limits = limits
        self._progress = progress
        self._hash = hashlib.sha256()
        self._pending = bytearray()
        self._expected: int | None = None
        self.received = 0
        self._file = path.open("x+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def descriptor(self) -> int:
        """The open file, for whoever can fill it without reading (a reflink); `adopt` then takes what is there."""
        return self._file.fileno()

    def expect(self, size: int) -> None:
        """Take the size that the source announces.

        Raises:
            ImageTooLarge: it is more than the limit.
            InsufficientStorage: the file system has no room for it.
        """
        self._expected = size
        self._refuse_beyond_limit(size)
        self._refuse_without_room(size)
        self._report()

    async def write(self, data: bytes) -> None:
        """Append the bytes.

        Raises:
            ImageTooLarge: there are more of them than the limit.
            InsufficientStorage: the file system has no room for them.
        """
        self.received += len(data)
        self._refuse_beyond_limit(self.received)
        self._pending += data
        if len(self._pending) >= WRITE_BYTES:
            await self._flush()

    async def adopt(self) -> None:
        """Hash what is in the file already, in pieces, as if it had been written."""
        while data := await run_in_thread(self._read_and_hash):
            self.received += data
            self._refuse_beyond_limit(self.received)
            self._report()

    async def finish(self) -> Digest:
        """Write and sync the rest; return the digest of all of it."""
        await self._flush()
        with _full_is_insufficient_storage(self._path):
            await run_in_thread(os.fsync, self._file.fileno())
        return Digest(self._hash.hexdigest())

    async def _flush(self) -> None:
        if not self._pending:
            return
        data, self._pending = bytes(self._pending), bytearray()
        with _full_is_insufficient_storage(self._path):
            await run_in_thread(self._hash_and_write, data)
        self._report()

    def _hash_and_write(self, data: bytes) -> None:
        self._refuse_without_room(len(data))
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _read_and_hash(self) -> int:
        data = os.pread(self._file.fileno(), 4 * WRITE_BYTES, self.received)
        self._hash.update(data)
        return len(data)

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self.received, self._expected)

    def _refuse_beyond_limit(self, size: int) -> None:
        if size > self._limits.max_bytes:
            raise ImageTooLarge(
                f"the image has {size} bytes or more, this node takes at most {self._limits.max_bytes}: "
                f"use a smaller image (a sparse or compressed qcow2), or raise the node's limit"
            )

    def _refuse_without_room(self, size: int) -> None:
        room = free_bytes(self._path.parent) - self._limits.reserve_bytes
        if size > room:
            raise InsufficientStorage(
                f"the image needs {size} bytes, the image cache's file system has {max(0, room)} left beside its "
                f"reserve of {self._limits.reserve_bytes}: delete unused images, or give the node more storage"
            )


def free_bytes(directory: Path) -> int:
    """What an ordinary user may still write to the directory's file system."""
    space = os.statvfs(directory)
    return space.f_bavail * space.f_frsize


@contextmanager
def _full_is_insufficient_storage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise
        raise InsufficientStorage(f"no room for the image on the file system of {path.parent}: {error}") from error
