"""Starting a daemon on the node so that nothing ties it to the container: neither groups, nor mounts, nor a parent.

A program of its own (`python3 -m berth_libvirt launch NAME`) does it, since a process that has changed its groups and
its root is good for nothing else. It ends when the daemon has been executed, or says why it was not.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from berth_libvirt import cgroups, mounts
from berth_libvirt.errors import LaunchFailed
from berth_libvirt.processes import LIBVIRTD, VIRTLOGD
from berth_libvirt.settings import Settings

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    VIRTLOGD: ("/usr/sbin/virtlogd", "-f", "/etc/libvirt/virtlogd.conf", "-p", "/run/libvirt/virtlogd.pid"),
    LIBVIRTD: ("/usr/sbin/libvirtd", "-f", "/etc/libvirt/libvirtd.conf", "-p", "/run/libvirt/libvirtd.pid"),
}
"""How daemons are called, as seen from a tree."""

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "HOME": "/"}
_TIMEOUT = 60.0
_SCORE = Path("/proc/self/oom_score_adj")
_FILES = 524288
"""At most what systemd gives services by default: a runtime may have 2^30, and programs size tables by this limit."""


def start(name: str) -> None:
    """Start a daemon from the container that watches over it.

    Args:
        name: One of `ARGUMENTS`.

    Raises:
        LaunchFailed: It was not started; the message has the reason.
    """
    argv = [sys.executable, "-m", "berth_libvirt", "launch", name]
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        raise LaunchFailed(f"{name}: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise LaunchFailed(f"{name} is not started after {_TIMEOUT:g} s") from error


def launch(settings: Settings, tree: Path, name: str) -> None:
    """Become another process than the container's, and execute a daemon in a child that is nobody's.

    Args:
        settings: Where things are.
        tree: The tree that it runs from.
        name: One of `ARGUMENTS`.

    Raises:
        LaunchFailed: The daemon could not be executed.
        NodeUnsuited: The node has no control group for it.
        OSError: A mount failed.
    """
    log = os.open(settings.state / "log" / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.setsid()
    os.umask(0o022)
    # A Pod's containers are hardly ever ended for want of memory, and guests would inherit that.
    _SCORE.write_text("0", encoding="ascii")
    allow_files()
    cgroups.enter(settings.system / "fs/cgroup")
    mounts.enter(settings, tree)
    reading, writing = os.pipe()
    if os.fork() == 0:
        _become(ARGUMENTS[name], log, writing)
    os.close(writing)
    if failed := os.read(reading, 1024):
        raise LaunchFailed(f"{name}: {failed.decode(errors='replace')}")


def allow_files() -> None:
    """Let this process, and what it executes, have as many files open as it may allow itself.

    A runtime may give containers the 1024 that select(2) can take; libvirtd has several open for each guest, and QEMU
    for each disk and NIC.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _become(argv: tuple[str, ...], log: int, failures: int) -> None:
    """Execute a program; the pipe for failures closes as it is executed."""
    try:
        nothing = os.open("/dev/null", os.O_RDWR)
        for descriptor, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, target)
        os.execve(argv[0], argv, _ENVIRONMENT)  # noqa: S606 - an argument list, never a shell
    except OSError as error:
        os.write(failures, str(error).encode())
    finally:
        os._exit(1)
