"""The container images that a cluster of kubelets runs, each as an OCI archive in the cache.

No registry takes part: what is not Berth's own is built here, and nodes import the archives.
"""

import tempfile
from pathlib import Path

from berth_dev import commands
from berth_dev.archives import ImageContent, write_archive
from berth_dev.caches import cached, key_of
from berth_dev.progress import Say

PAUSE_REFERENCE = "berth-pause:1"
_COMPILE_TIMEOUT = 120.0


def pause_image(cache: Path, project: Path, say: Say) -> Path:
    """Return the archive of the image that sandboxes and anchors run: a static program that waits.

    Args:
        cache: The cache's root.
        project: The project's root.
        say: Takes progress lines.

    Raises:
        CommandError: The C compiler is missing, or it failed.
    """
    source = project / "dev" / "pause" / "pause.c"

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            program = Path(scratch) / "pause"
            flags = ["-Os", "-static", "-s", "-Wall", "-Werror"]
            commands.run(["cc", *flags, "-o", str(program), str(source)], timeout=_COMPILE_TIMEOUT)
            content = ImageContent(("/pause",), {"/pause": program.read_bytes()}, user="65535:65535")
        write_archive(folder / "pause.tar", PAUSE_REFERENCE, content)

    key = key_of(PAUSE_REFERENCE, files=[source])
    return cached(cache / "pause", key, "building the pause image", build, say) / "pause.tar"
