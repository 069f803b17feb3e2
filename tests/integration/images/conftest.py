"""Berth's own images, as `make images` builds them, unpacked, and run in a changed root."""

import io
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from berth_dev import archives, containers
from berth_dev.caches import cache_root
from berth_dev.progress import silent
from berth_dev.startup import project_root

_TIMEOUT = 60.0
_BUILDERS = {
    "operator": containers.operator_image,
    "agent": containers.agent_image,
    "libvirt": containers.libvirt_image,
}


@dataclass(frozen=True)
class Image:
    """An image of ours.

    Attributes:
        archive: Its OCI archive.
        root: Where it is unpacked.
        entries: Everything in its layers, by path; of a path in several, the uppermost.
    """

    archive: Path
    root: Path
    entries: dict[str, tarfile.TarInfo]

    @property
    def config(self) -> dict[str, Any]:
        """How containers of it are started."""
        return archives.configuration(self.archive)

    def run(self, *argv: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the image as a container would: its user and environment, in a root that is read-only."""
        values = dict(each.split("=", 1) for each in self.config["Env"]) | environment
        enter = Path(__file__).with_name("enter.sh")
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", enter, self.root, self.config["User"], *argv],
            input=stdin,
            env=values | {"PATH": f"{values['PATH']}:/sbin:/bin"},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Image]:
    """An image by the name of its target, built when the cache does not have it."""
    known: dict[str, Image] = {}

    def of(target: str) -> Image:
        if target not in known:
            archive = _BUILDERS[target](cache_root(), project_root(), silent)
            known[target] = _unpacked(archive, tmp_path_factory.mktemp(target))
        return known[target]

    return of


def _unpacked(archive: Path, root: Path) -> Image:
    entries: dict[str, tarfile.TarInfo] = {}
    for layer in archives.layers(archive):
        with tarfile.open(fileobj=io.BytesIO(layer)) as opened:
            entries |= {entry.name: entry for entry in opened}
            opened.extractall(root, filter="fully_trusted")  # noqa: S202 - our own image
    for folder in ("dev", "proc"):
        (root / folder).mkdir(exist_ok=True)
    root.chmod(0o755)
    return Image(archive, root, entries)
