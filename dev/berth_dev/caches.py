"""Things that take minutes to build are built once and kept, under a name that follows from what they are built of.

Two clusters may be started at the same moment on a fresh machine, and either can be killed halfway. So a build holds a
lock, works in a folder of its own, and is renamed into place in one step: what has its final name is whole.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from berth_dev.progress import Say
from berth_dev.states import locked

_BUILD_TIMEOUT = 3600.0


def cache_root() -> Path:
    """Where builds are kept: `BERTH_CACHE`, or `berth` in the user's cache folder."""
    chosen = os.environ.get("BERTH_CACHE")
    if chosen:
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "berth"


def key_of(*texts: str, files: Iterable[Path] = ()) -> str:
    """Name a build by its inputs: files by their name and content, anything else as text."""
    digest = hashlib.sha256()
    for part in (*texts, *(text for path in files for text in (path.name, path.read_text(encoding="utf-8")))):
        data = part.encode()
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()[:16]


def cached(folder: Path, key: str, title: str, build: Callable[[Path], None], say: Say) -> Path:
    """Return the build of this key, making it first if it is not there.

    Args:
        folder: Where builds of this kind are kept.
        key: From `key_of`.
        title: What is being built, for whoever waits.
        build: Fills an empty folder; what it raises leaves the cache as it was.
        say: Takes progress lines.

    Returns:
        The folder with the build.
    """
    final = folder / key
    if final.is_dir():
        return final
    with locked(folder, timeout=_BUILD_TIMEOUT):
        if final.is_dir():
            return final
        scratch = folder / f".{key}.building"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        say(f"{title} ...")
        try:
            build(scratch)
            scratch.rename(final)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        say(f"{title}: done")
    return final
