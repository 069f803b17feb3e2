"""The file system in which libvirtd and guests live: a tree, read-only, with what is the node's mounted into it.

It is a mount namespace of its own that ends with its last process, so nothing of it is ever seen or left on the node.
Of the container's file system nothing stays in it. Mounts that the node makes later below what is shared (a pool on
NFS) appear here, too; none that is made here appears on the node.
"""

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from berth_libvirt.settings import Settings

_NEWNS = 0x20000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 19
_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
STATE_FOLDERS = {"etc": "etc/libvirt", "lib": "var/lib/libvirt", "log": "var/log/libvirt", "cache": "var/cache/libvirt"}
"""What libvirt keeps: folders of the state, and where a tree has them."""

SOCKETS = "run/libvirt"
"""Where a tree has libvirt's sockets, wherever the node has them."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Mount:
    """A mount, as mount(2) takes it.

    Attributes:
        source: A path seen from the container, or a name.
        target: Seen from the container.
        kind: Of the file system; empty for one that is there already.
        flags: MS_ flags.
        options: The file system's.
    """

    source: str
    target: Path
    kind: str = ""
    flags: int = 0
    options: str = ""


def plan(settings: Settings, tree: Path) -> Iterator[Mount]:
    """The mounts of a tree, in the order in which they are made.

    Args:
        settings: Where things are.
        tree: The tree.
    """
    yield Mount(str(tree), tree, flags=_BIND)
    yield Mount(str(settings.devices), tree / "dev", flags=_BIND | _REC)
    yield Mount("proc", tree / "proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    yield Mount(str(settings.system), tree / "sys", flags=_BIND | _REC)
    yield Mount("tmpfs", tree / "run", "tmpfs", _NOSUID | _NODEV, "mode=755,size=16m")
    yield Mount("tmpfs", tree / "tmp", "tmpfs", _NOSUID | _NODEV, "mode=1777,size=64m")
    yield Mount(str(settings.sockets), tree / SOCKETS, flags=_BIND)
    for name, inside in STATE_FOLDERS.items():
        yield Mount(str(settings.state / name), tree / inside, flags=_BIND)
    for path in settings.shared:
        yield Mount(str(path), tree / path.relative_to("/"), flags=_BIND | _REC)
    yield Mount("none", tree, flags=_BIND | _REMOUNT | _RDONLY)


def enter(settings: Settings, tree: Path) -> None:
    """Put this process into a mount namespace of its own whose root is the tree.

    Raises:
        OSError: The kernel refuses a step; the process is then good for nothing but to end.
    """
    _check(_libc.unshare(_NEWNS), "a mount namespace")
    _mount(Mount("none", Path("/"), flags=_REC | _SLAVE))
    for mount in plan(settings, tree):
        if not mount.flags & _REMOUNT:
            mount.target.mkdir(parents=True, exist_ok=True)
        _mount(mount)
    os.chdir(tree)
    # The former root comes to lie over the new one, and is taken away: pivot_root(2) has this way without a folder.
    _check(_libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), f"{tree} as the root")
    _check(_libc.umount2(b".", _DETACH), "leaving the container's root")
    os.chdir("/")


def _mount(mount: Mount) -> None:
    done = _libc.mount(
        mount.source.encode(),
        str(mount.target).encode(),
        mount.kind.encode() or None,
        ctypes.c_ulong(mount.flags),
        mount.options.encode() or None,
    )
    _check(done, f"{mount.source} at {mount.target}")


def _check(returned: int, what: str) -> None:
    if returned != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)}: {what}")
