"""The control groups of a run: where its kubelets put their Pods, and how the processes of Pods are known as the run's.

A container's process has an environment and mounts of its own, so neither of a run's other marks is on it. But it
cannot leave its control group, and all of a run's are below one that is named after it. Groups outlive every process,
and what a run has left of them is removed by that name.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from berth_dev.errors import DevError
from berth_dev.processes import poll_until

_MOUNTS = Path("/proc/self/mountinfo")
_TYPES = ("cgroup", "cgroup2")
_EMPTY_TIMEOUT = 10.0
_WEIGHTS = {"cpu.shares": "16384", "cpu.weight": "1600"}
"""Of the run's group, in either version: otherwise all Pods together get no more of a CPU than one process outside."""


def name_of(run_id: str) -> str:
    """The run's group, below the root of each hierarchy."""
    return f"berth-dev-{run_id}"


def path_of(run_id: str, node: str) -> str:
    """A node's group, as a kubelet's `cgroupRoot` has it."""
    return f"/{name_of(run_id)}/{node}"


def is_inside(group: str, listed: str) -> bool:
    """Whether a process is in a group or below it.

    Args:
        group: From `path_of`, or `/` and `name_of`.
        listed: What /proc/PID/cgroup holds: a line for each hierarchy, see cgroups(7).
    """
    paths = (line.split(":", 2)[-1] for line in listed.splitlines())
    return any(path == group or path.startswith(f"{group}/") for path in paths)


def holds(group: str, pid: int) -> bool:
    """Whether a process that runs is in a group or below it."""
    try:
        return is_inside(group, Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))
    except OSError:  # it has ended meanwhile
        return False


def hierarchies(mountinfo: str) -> list[Path]:
    """Where this machine has its hierarchies: several of version 1, or the one of version 2.

    Args:
        mountinfo: What /proc/self/mountinfo holds, see proc(5).
    """
    found = []
    for line in mountinfo.splitlines():
        mount, _, tail = line.partition(" - ")
        if tail.split(" ", 1)[0] in _TYPES:
            found.append(Path(mount.split()[4]))
    return found


def make(run_id: str, node: str) -> None:
    """Make a node's group in every hierarchy: a kubelet wants its root to be there."""
    for root in hierarchies(_MOUNTS.read_text(encoding="utf-8")):
        (root / path_of(run_id, node).removeprefix("/")).mkdir(parents=True, exist_ok=True)
        for name, weight in _WEIGHTS.items():
            if (file := root / name_of(run_id) / name).exists():
                file.write_text(weight, encoding="ascii")


def remove(run_id: str) -> int:
    """Remove every group of a run whose processes have ended.

    The kernel takes a moment between the end of a process and letting go of its group.

    Returns:
        How many there were.

    Raises:
        DevError: One is in use.
    """
    deadline = time.monotonic() + _EMPTY_TIMEOUT
    removed = 0
    for root in hierarchies(_MOUNTS.read_text(encoding="utf-8")):
        for group in _leaves_first(root / name_of(run_id)):
            _remove(group, deadline)
            removed += 1
    return removed


def _remove(group: Path, deadline: float) -> None:
    while True:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if not poll_until(deadline):
                raise DevError(f"the control group {group} is in use: {error}") from error
        else:
            return


def _leaves_first(group: Path) -> Iterator[Path]:
    if not group.is_dir():
        return
    for entry in sorted(group.iterdir()):
        if entry.is_dir():
            yield from _leaves_first(entry)
    yield group
