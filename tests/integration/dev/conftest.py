"""Clusters without Berth in them, in a state folder of the test's own."""

import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from berth_dev import Cluster, Options
from berth_dev.teardown import take_down

NAMESPACES = ("net", "mnt", "uts")


def _namespaces(pid: int) -> frozenset[str]:
    return frozenset(str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in NAMESPACES)


@dataclass(frozen=True)
class Traces:
    """How to tell, without any of the project's own means, that something of a cluster is left.

    A process is known by its UTS namespace: that can be held, and holds nothing itself, while a network namespace that
    is held keeps its links and a mount namespace its mounts. No process of a node has another, but for those of Pods
    with a network of their own, whose control groups show them.

    Attributes:
        namespaces: Identities of the nodes' namespaces.
        link_prefix: How the names of its links start.
        state: Its folder.
    """

    namespaces: frozenset[str]
    link_prefix: str
    state: Path

    @classmethod
    def of(cls, cluster: Cluster) -> "Traces":
        pids = [node.holder.pid for node in cluster.nodes]
        namespaces = frozenset[str]().union(*map(_namespaces, pids))
        traces = cls(namespaces, cluster.run.plan.link_prefix, cluster.run.state)
        for pid in pids:  # the kernel gives a namespace's number again once nothing holds it: to another test's, then
            weakref.finalize(traces, os.close, os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY | os.O_CLOEXEC))
        return traces

    def left(self) -> list[str]:
        """Everything that is still there, in words."""
        links = (path.name for path in Path("/sys/class/net").iterdir())
        found = [f"link {name}" for name in links if name.startswith(self.link_prefix)]
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        found += [f"mount {line}" for line in mounts if str(self.state) in line]
        found += [f"file {path}" for path in ([self.state] if self.state.exists() else [])]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                found += self._left_of(entry)
        return found

    def _left_of(self, entry: Path) -> list[str]:
        try:
            inside = str((entry / "ns/uts").readlink()) in self.namespaces
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended, or is not even root's to look into, as nothing of a cluster is
            return []
        mentions = str(self.state) in command and "pytest" not in command
        return [f"process {entry.name} {command}"] if inside or mentions else []


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Where the test's clusters keep their state; whatever the test leaves is taken down."""
    folder = tmp_path / "clusters"
    yield folder
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        take_down(entry.name, say=print, root=folder)


@pytest.fixture
def bare() -> Options:
    """One node, and nothing of Berth."""
    return Options(nodes=1, operator=False, agent=False)
