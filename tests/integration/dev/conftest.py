"""Clusters without Berth in them, in a state folder of the test's own."""

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
        namespaces = (_namespaces(node.holder.pid) for node in cluster.nodes)
        return cls(frozenset().union(*namespaces), cluster.run.plan.link_prefix, cluster.run.state)

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
            inside = _namespaces(int(entry.name)) & self.namespaces
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
