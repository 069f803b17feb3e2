"""Guest images, built by the scripts in dev/guest-images into the cache.

Each image is built again only when its own script or files change. They are then linked into one folder, which the
image server serves.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from berth_dev import commands
from berth_dev.caches import cached, key_of
from berth_dev.progress import Say

NAMES = ("tiny", "debian")
IMAGE_HOST = "images.berth.test"
CHECKSUMS = "SHA256SUMS"
_BUILD_TIMEOUT = 1800.0
_TITLES = {
    "tiny": "building the guest image tiny (seconds)",
    "debian": "building the guest image debian (about a minute)",
}


@dataclass(frozen=True)
class GuestImage:
    """An image that nodes can fetch.

    Attributes:
        name: `tiny` or `debian`.
        url: Where the nodes of a cluster get it.
        sha256: Its digest in hexadecimal; a manifest writes `sha256:` before it.
        path: Where it is on this machine.
    """

    name: str
    url: str
    sha256: str
    path: Path


def build_images(cache: Path, project: Path, say: Say) -> Path:
    """Return the folder with all images and their checksums, building what the cache does not have.

    Raises:
        CommandError: A build failed.
    """
    scripts = project / "dev" / "guest-images"
    built = [_build(cache, scripts, name, say) for name in NAMES]
    return cached(
        cache / "images",
        key_of(*(path.parent.name for path in built)),
        "collecting the guest images",
        lambda folder: _collect(built, folder),
        say,
    )


def _build(cache: Path, scripts: Path, name: str, say: Say) -> Path:
    script = scripts / f"build-{name}.sh"
    sources = [script, *sorted(path for path in (scripts / name).iterdir() if path.is_file())]

    def build(folder: Path) -> None:
        target = folder / f"{name}.qcow2"
        commands.run(["bash", str(script), str(target)], timeout=_BUILD_TIMEOUT)

    return cached(cache / f"image-{name}", key_of(files=sources), _TITLES[name], build, say) / f"{name}.qcow2"


def _collect(built: list[Path], folder: Path) -> None:
    lines = []
    for source in built:
        target = folder / source.name
        try:
            target.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, target)
        lines.append(f"{_digest(target)}  {target.name}\n")
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_images(folder: Path) -> dict[str, GuestImage]:
    """Read what `build_images` collected, by name."""
    images = {}
    for line in (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines():
        sha256, file = line.split()
        name = file.removesuffix(".qcow2")
        images[name] = GuestImage(name, f"http://{IMAGE_HOST}/{file}", sha256, folder / file)
    return images
