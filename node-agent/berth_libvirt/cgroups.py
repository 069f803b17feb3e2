"""A control group of the node's for libvirtd and guests, beside those that kubelet keeps for Pods.

Whatever is below a Pod's group is ended with it, by the runtime as well as by the kubelet, and in every hierarchy that
either of them looks into. So the group is made outside `kubepods`, in all hierarchies that the node has: several of
version 1, or the one of version 2, or both (systemd's hybrid). Guests then count towards what the node uses, as those
of a host's own libvirtd do, and towards no Pod.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from berth_libvirt.errors import NodeUnsuited

NAME = "berth-libvirt"
_PODS = "kubepods"
_INHERITED = ("cpuset.cpus", "cpuset.mems")
"""Of a group of version 1's cpuset: empty in a new one, which then takes no process."""


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy.

    Attributes:
        path: Where it is mounted.
        top: Which of its groups is there: `/` unless somebody mounted a part of it.
        options: Of version 1: what it was mounted with, its controllers or its name among them; empty for version 2.
    """

    path: Path
    top: str
    options: frozenset[str]

    def is_of(self, names: frozenset[str]) -> bool:
        """Whether these are its controllers, or its name, as /proc/PID/cgroup has them.

        A mount has more options than that: `xattr`, `release_agent=…`, see cgroups(7).
        """
        return names <= self.options and bool(names) == bool(self.options)


def hierarchies(mountinfo: str, below: Path) -> list[Hierarchy]:
    """The hierarchies that are mounted below a folder, each once.

    Args:
        mountinfo: What /proc/self/mountinfo holds, see proc(5).
        below: Where the node's /sys/fs/cgroup is.
    """
    found: dict[frozenset[str], Hierarchy] = {}
    for line in mountinfo.splitlines():
        mount, _, tail = line.partition(" - ")
        kind, _, options = tail.split(" ", 2)
        path, top = Path(mount.split()[4]), mount.split()[3]
        if kind in {"cgroup", "cgroup2"} and path.is_relative_to(below):
            names = frozenset(options.split(",")) - {"rw", "ro"} if kind == "cgroup" else frozenset[str]()
            found.setdefault(names, Hierarchy(path, top, names))
    return list(found.values())


def own_groups(listed: str) -> dict[frozenset[str], str]:
    """A process's group in each hierarchy, by the hierarchy's controllers.

    Args:
        listed: What /proc/PID/cgroup holds, see cgroups(7).
    """
    lines = (line.split(":", 2) for line in listed.splitlines())
    return {frozenset(names.split(",")) - {""}: path for _, names, path in lines}


def beside_pods(group: str) -> str:
    """The group of a libvirt whose watching container is in `group`: beside what holds all Pods.

    A kubelet may keep its Pods below a group of its own (`cgroupRoot`; `/kubelet` in a node that is a container): that
    is looked for. Where a container sees groups only from its own on, the node's root is taken.
    """
    parts = [part for part in group.split("/") if part]
    index = next((number for number, part in enumerate(parts) if _PODS in part), 0)
    return "/" + "/".join([*parts[:index], NAME])


def plan(mounted: Iterable[Hierarchy], listed: str) -> Iterator[tuple[Hierarchy, Path]]:
    """Which folder of each hierarchy becomes libvirt's group.

    Raises:
        NodeUnsuited: The node's group is outside what is mounted.
    """
    own = own_groups(listed)
    for hierarchy in mounted:
        group = beside_pods(next((path for names, path in own.items() if hierarchy.is_of(names)), "/"))
        if hierarchy.top == "/" or hierarchy.top.startswith("/.."):
            yield hierarchy, hierarchy.path / group.removeprefix("/")
        elif group.startswith(f"{hierarchy.top}/"):
            yield hierarchy, hierarchy.path / group.removeprefix(f"{hierarchy.top}/")
        else:
            raise NodeUnsuited(f"the group {group} is not below {hierarchy.top}, which is mounted at {hierarchy.path}")


def enter(below: Path) -> None:
    """Move this process into libvirt's group, in every hierarchy of the node.

    Args:
        below: Where the node's /sys/fs/cgroup is.

    Raises:
        NodeUnsuited: There is no hierarchy, or it takes no process.
    """
    mounted = hierarchies(Path("/proc/self/mountinfo").read_text(encoding="utf-8"), below)
    if not mounted:
        raise NodeUnsuited(f"no control groups are mounted below {below}")
    for hierarchy, folder in plan(mounted, Path("/proc/self/cgroup").read_text(encoding="utf-8")):
        try:
            _make(hierarchy.path, folder)
            (folder / "cgroup.procs").write_text(f"{os.getpid()}\n", encoding="ascii")
        except OSError as error:
            raise NodeUnsuited(f"{folder} takes no process: {error}") from error


def _make(top: Path, folder: Path) -> None:
    """Make a group and those above it, and give those of a cpuset the processors that theirs has."""
    for group in (*reversed(folder.relative_to(top).parents), folder.relative_to(top)):
        path = top / group
        path.mkdir(exist_ok=True)
        for name in _INHERITED:
            file = path / name
            if path != top and file.exists() and not file.read_text(encoding="ascii").strip():
                value = (path.parent / name).read_text(encoding="ascii")
                file.write_text(value, encoding="ascii")
