"""The machine that attachments are made on, and what could be left of them."""

import socket
from dataclasses import dataclass
from pathlib import Path

from berth_agent.network.attacher import Attacher
from berth_agent.network.settings import NetworkLimits


@dataclass(frozen=True)
class Node:
    """The machine, as the code under test sees it."""

    root: Path
    cni_bin_dirs: tuple[Path, ...]

    @property
    def state_dir(self) -> Path:
        return self.root / "state"

    @property
    def netns_dir(self) -> Path:
        return Path("/run/netns")

    def attacher(self, **limits: float) -> Attacher:
        """Return an attacher that shares nothing with others but the disk and the kernel, like a restarted agent's."""
        return Attacher(self, NetworkLimits(**limits))  # type: ignore[arg-type] # every limit used here is a number

    def remains(self) -> dict[str, list[str]]:
        """Everything that an attachment could have left."""
        return {
            "links": sorted(name for _, name in socket.if_nameindex() if not name.startswith(("lo", "br-", "up"))),
            "namespaces": sorted(path.name for path in self.netns_dir.glob("berth-*")),
            "records": sorted(str(path) for path in self.state_dir.rglob("*") if path.is_file()),
            "reservations": sorted(path.name for path in (self.root / "ipam").rglob("1*")),
            "processes": sorted(name for name in running() if name == "dnsmasq"),
        }


def running() -> list[str]:
    """The names of all processes here that still run; this pytest is process 1 and reaps no orphans."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        if text.rpartition(")")[2].split()[0] != "Z":
            found.append(text.partition("(")[2].rpartition(")")[0])
    return found
