"""What a cluster's run has started, found by marks that survive a crash at any moment.

A list of process ids cannot be complete: whoever writes it can be killed between starting a process and noting it, and
guests are started by libvirtd, not by us. So every run has an id, and everything it starts carries it: in its
environment, which children inherit, or, where a program clears that (libvirtd for its guests), in its mount namespace,
as the source of a mount that every node makes first. A Pod's processes have neither, but cannot leave the control group
that is named after the run (`berth_dev.cgroups`). All of these come from the kernel, so no record has to be right, and
nobody else's process can match.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from berth_dev import cgroups
from berth_dev.errors import DevError
from berth_dev.processes import ProcessIdentity, poll_until

RUN_VARIABLE = "BERTH_DEV_RUN"
_END_TIMEOUT = 30.0
_CLEAN_PASSES = 2


def environment(run_id: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every process of a run: this one's, the mark, and what is given.

    `NOTIFY_SOCKET` and the like would tie a process to whoever started us.
    """
    inherited = {
        key: value for key, value in os.environ.items() if key not in {"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"}
    }
    return {**inherited, **(extra or {}), RUN_VARIABLE: run_id}


def mount_source(run_id: str) -> str:
    """The source of the mark in a node's mount namespace, as /proc/PID/mountinfo shows it."""
    return f"berth-dev-{run_id}"


def is_marked(run_id: str, *, environ: bytes, mountinfo: str, groups: str = "") -> bool:
    """Whether a process belongs to the run.

    Args:
        run_id: The run's id.
        environ: What /proc/PID/environ holds.
        mountinfo: What /proc/PID/mountinfo holds.
        groups: What /proc/PID/cgroup holds.
    """
    if f"{RUN_VARIABLE}={run_id}".encode() in environ.split(b"\0"):
        return True
    if cgroups.is_inside(f"/{cgroups.name_of(run_id)}", groups):
        return True
    return any(_source(line) == mount_source(run_id) for line in mountinfo.splitlines())


def _source(line: str) -> str:
    """The mount source: the second field after the lone hyphen, see proc(5)."""
    tail = line.partition(" - ")[2].split()
    return tail[1] if len(tail) > 1 else ""


def find(run_id: str) -> Iterator[ProcessIdentity]:
    """Every process of the run, in no order; this one is never among them."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        identity = ProcessIdentity.of(int(entry.name))
        if identity is None:
            continue
        try:
            marked = is_marked(
                run_id,
                environ=(entry / "environ").read_bytes(),
                mountinfo=(entry / "mountinfo").read_text(encoding="utf-8", errors="replace"),
                groups=(entry / "cgroup").read_text(encoding="utf-8", errors="replace"),
            )
        except OSError:  # it has ended, or is one that not even root may look into: none of ours
            continue
        if marked:
            yield identity


def end_all(run_id: str) -> int:
    """Kill every process of the run, also those that are being started meanwhile.

    Returns:
        How many there were.

    Raises:
        DevError: Some do not end.
    """
    return _end(lambda: set(find(run_id)))


def end_where(belongs: Callable[[int], bool], *, but: ProcessIdentity) -> int:
    """Kill every process for whose id this is true, also those that are being started meanwhile.

    Args:
        belongs: Says whether a process is to end; must be true of nothing but what a run has started.
        but: This one stays.

    Returns:
        How many there were.

    Raises:
        DevError: Some do not end.
    """

    def find_them() -> set[ProcessIdentity]:
        ids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        identities = (ProcessIdentity.of(pid) for pid in ids if pid != os.getpid() and belongs(pid))
        return {identity for identity in identities if identity is not None and identity != but}

    return _end(find_them)


def _end(find_them: Callable[[], set[ProcessIdentity]]) -> int:
    deadline = time.monotonic() + _END_TIMEOUT
    killed: set[ProcessIdentity] = set()
    clean = 0
    while clean < _CLEAN_PASSES:
        found = find_them()
        clean = 0 if found else clean + 1
        for identity in found:
            identity.send(signal.SIGKILL)
        killed |= found
        stuck = [one.pid for one in found if not one.wait_gone(max(0.0, deadline - time.monotonic()))]
        if stuck or not poll_until(deadline, interval=0.01):
            raise DevError(f"processes that SIGKILL does not end: {stuck}; see /proc/PID/stack, then take down again")
    return len(killed)


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, but refuse to cross into another file system: that would be somebody's mount."""
    device = path.lstat().st_dev
    crossed = [root for root in _folders(path) if root.lstat().st_dev != device]
    if crossed:
        raise DevError(f"{crossed[0]} is a mount inside {path}: unmount it first")
    shutil.rmtree(path)


def _folders(path: Path) -> Iterable[Path]:
    for root, folders, _ in os.walk(path):
        yield from (Path(root) / name for name in folders if not (Path(root) / name).is_symlink())
