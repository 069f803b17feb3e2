"""Network namespaces, made and entered in threads that end there.

A thread that has called setns or unshare must never go back to a pool: whatever ran on it next would see another
network. Forking (as `ip netns` and pyroute2 do) is no way either for a process with libvirt's threads in it. So each
operation has a thread of its own, a tenth of a millisecond, and it is finished even when its awaiter is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast

from berth_agent.network.errors import DatapathFailed
from berth_agent.network.shields import uninterrupted

T = TypeVar("T")

_CLONE_NEWNET = 0x4000_0000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_SHARED = 0x10_0000
_MNT_DETACH = 2


class Sandboxes:
    """The namespaces that are mounted in one directory.

    Args:
        directory: as `ip netns` has it, `/run/netns`.
        deadline: seconds for one operation; they take milliseconds unless the kernel's RTNL is contended.
    """

    def __init__(self, directory: Path, deadline: float = 15.0) -> None:
        self._directory = directory
        self._deadline = deadline
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._sharing = threading.Lock()

    def path(self, name: str) -> Path:
        """Return the file that CNI_NETNS names."""
        return self._directory / name

    def exists(self, name: str) -> bool:
        """Whether a live namespace is mounted there; after a reboot a plain file may be left."""
        try:
            found = self.path(name).stat()
        except FileNotFoundError:
            return False
        return found.st_dev == Path("/proc/thread-self/ns/net").stat().st_dev

    async def ensure(self, name: str) -> None:
        """Make an empty namespace unless there is one.

        Raises:
            DatapathFailed: the kernel refused.
        """
        if not self.exists(name):
            await uninterrupted(self._apart(f"make namespace {name}", lambda: self._create(self.path(name))))

    async def remove(self, name: str) -> None:
        """Unmount and delete; the kernel destroys its links when the last process has left."""
        await uninterrupted(self._apart(f"remove namespace {name}", lambda: self._remove(self.path(name))))

    async def within(self, name: str, what: str, work: Callable[[], T]) -> T:
        """Do something blocking in a namespace.

        Args:
            name: of the namespace.
            what: for an error, such as `connect it`.
            work: raises OSError or DatapathFailed.

        Raises:
            DatapathFailed: it failed, or was not done within the deadline.
        """
        path = self.path(name)
        return await uninterrupted(self._apart(what, lambda: self._enter_and(path, work)))

    async def outside(self, what: str, work: Callable[[], T]) -> T:
        """Do something blocking in the agent's own namespace; otherwise as `within`."""
        return await uninterrupted(self._apart(what, work))

    async def _apart(self, what: str, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def tell(result: T | None, error: DatapathFailed | None) -> None:
            if done.done():  # Nobody waits any more.
                return
            if error is None:
                done.set_result(cast("T", result))
            else:
                done.set_exception(error)

        def main() -> None:
            result: T | None = None
            failed: DatapathFailed | None = None
            try:
                result = work()
            except DatapathFailed as error:
                failed = error
            except OSError as error:
                failed = DatapathFailed(f"cannot {what}: {error}")
            with contextlib.suppress(RuntimeError):  # The loop was closed meanwhile.
                loop.call_soon_threadsafe(tell, result, failed)

        threading.Thread(target=main, name="sandbox", daemon=True).start()
        try:
            async with asyncio.timeout(self._deadline):
                return await done
        except TimeoutError as error:
            raise DatapathFailed(f"cannot {what}: not done within {self._deadline:g} s") from error

    def _create(self, path: Path) -> None:
        self._share_directory()
        path.touch(mode=0o444)
        try:
            self._call("unshare", _CLONE_NEWNET)
            self._call("mount", b"/proc/thread-self/ns/net", os.fsencode(path), b"none", _MS_BIND, None)
        except OSError:
            path.unlink()
            raise

    def _share_directory(self) -> None:
        """Make the directory a shared mount, exactly as `ip netns` does.

        Whoever of the two comes first: were it done after a namespace is mounted, that mount would be there twice, one
        hidden beneath the other, and could not be removed. Sharing also carries the mounts to the host of a container.
        """
        with self._sharing:
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            directory = os.fsencode(self._directory)
            try:
                self._call("mount", b"", directory, b"none", _MS_SHARED | _MS_REC, None)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._call("mount", directory, directory, b"none", _MS_BIND | _MS_REC, None)
                self._call("mount", b"", directory, b"none", _MS_SHARED | _MS_REC, None)

    def _remove(self, path: Path) -> None:
        while path.exists() and self._unmounted(path):
            pass
        path.unlink(missing_ok=True)

    def _unmounted(self, path: Path) -> bool:
        try:
            self._call("umount2", os.fsencode(path), _MNT_DETACH)
        except OSError as error:
            if error.errno == errno.EINVAL:  # Nothing is mounted there any more.
                return False
            raise
        return True

    def _enter_and(self, path: Path, work: Callable[[], T]) -> T:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._call("setns", handle, _CLONE_NEWNET)
        finally:
            os.close(handle)
        return work()

    def _call(self, function: str, *arguments: object) -> None:
        if getattr(self._libc, function)(*arguments) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"{function}: {os.strerror(code)}")


def write_sysctls(values: Mapping[str, str]) -> None:
    """Write files below /proc/sys/net of the calling thread's namespace; one that the kernel lacks is left out."""
    for name, value in values.items():
        with contextlib.suppress(FileNotFoundError):
            Path("/proc/sys/net", name).write_text(value, encoding="ascii")
