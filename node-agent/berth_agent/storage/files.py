"""Taking an image from the directory that the node's administrator set aside for images.

The path is a user's. It is walked component by component with O_NOFOLLOW below an open directory, so neither ``..`` nor
a symbolic link, also one that is put there while we walk, leads out. Links that would stay inside are refused as well:
telling the two apart is not worth a race.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from berth_agent.storage.errors import FileOutsideDirectory, ImageNotFound
from berth_agent.storage.lanes import Lane
from berth_agent.storage.sinks import WRITE_BYTES, ImageSink
from berth_agent.storage.sources import FileSource

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_NO_REFLINK = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM})
_PIECE_BYTES = 4 * WRITE_BYTES


def components(path: str) -> tuple[str, ...]:
    """Split a relative path into names that each stay where they are.

    Raises:
        FileOutsideDirectory: it is empty, absolute, has an empty, ``.`` or ``..`` component, or a NUL.
    """
    names = tuple(path.split("/"))
    if "\0" in path or any(name in {"", ".", ".."} for name in names):
        raise FileOutsideDirectory(
            f"the path {path[:200]!r} has to be relative to the node's image directory, without '..', '.' or '//'"
        )
    return names


async def copy(source: FileSource, sink: ImageSink, *, root: Path | None, lane: Lane) -> None:
    """Copy the file below `root` into the sink, as a reflink where the file system can.

    Raises:
        FileOutsideDirectory: no directory is configured, or the path leads out of it.
        ImageNotFound: there is no such file, or it is no regular file.
        ImageTooLarge, InsufficientStorage: from the sink.
        StorageHangs: the file system of the directory does not answer.
    """
    if root is None:
        raise FileOutsideDirectory(
            f"{source} cannot be read: this node has no directory of image files; use an http source, or ask the "
            f"node's administrator to configure one"
        )
    descriptor = await lane.change(open_beneath, root, components(source.path))
    try:
        sink.expect(os.fstat(descriptor).st_size)
        if await lane.change(_reflink, descriptor, sink.descriptor):
            await sink.adopt()
            return
        while data := await lane.change(os.read, descriptor, _PIECE_BYTES):
            await sink.write(data)
    finally:
        os.close(descriptor)


def open_beneath(root: Path, names: tuple[str, ...]) -> int:
    """Open the regular file for reading; the caller closes the descriptor.

    Raises:
        FileOutsideDirectory: one of the names is a symbolic link.
        ImageNotFound: there is no such file, or it is no regular file.
    """
    shown = "/".join(names)
    with _explained(shown):
        directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names[:-1]:
            with _explained(shown):
                below = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            directory, parent = below, directory
            os.close(parent)
        with _explained(shown):  # O_NONBLOCK: a pipe without a writer must not hold the thread
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(names[-1], flags, dir_fd=directory)
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageNotFound(f"{shown!r} in the node's image directory is not a regular file")
    return descriptor


@contextmanager
def _explained(shown: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileOutsideDirectory(
                f"{shown!r} in the node's image directory is, or leads through, a symbolic link: name the file itself"
            ) from error
        if error.errno == errno.ENOTDIR:
            raise FileOutsideDirectory(
                f"{shown!r} leads through something that is not a directory (a file or a symbolic link)"
            ) from error
        raise ImageNotFound(f"{shown!r} in the node's image directory cannot be read: {error.strerror}") from error


def _reflink(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno not in _NO_REFLINK:
            raise
        return False
    return True
