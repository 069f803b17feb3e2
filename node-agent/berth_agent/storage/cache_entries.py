"""How the image cache lies on disk: a directory per image, complete or not there at all.

    images/sha256-<hex>/image        the bytes, immutable, readable by whichever user QEMU runs as
    images/sha256-<hex>/image.json   what inspection found; its time is when the image was last asked for
    images/incoming/sha256-<hex>/    the same while it is being made, under the image's lock
    images/locks/sha256-<hex>.lock   held by whoever makes or removes the image

An incoming directory without its lock is what a crash left. All functions block and belong in a thread.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from berth_agent.storage.durable_files import sync_directory, write_atomically
from berth_agent.storage.file_locks import release, try_lock
from berth_agent.storage.sources import CachedImage, Digest, ImageFormat

_LOG = structlog.get_logger(__name__)

_IMAGE = "image"
_FACTS = "image.json"
_PASSABLE = 0o711  # QEMU's user passes through; nobody but root lists
_READABLE = 0o444


@dataclass(frozen=True)
class CacheEntries:
    """The cache's directory."""

    root: Path

    def prepare(self) -> None:
        """Make the directories; sweep what is damaged and what crashes left, but not what a live process makes."""
        for directory in (self.root, self._incoming, self._locks):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(_PASSABLE)
        for left in sorted(self._incoming.iterdir()):
            lock = self._locks / f"{left.name}.lock"
            descriptor = try_lock(lock)
            if descriptor is None:
                continue
            try:
                _LOG.info("sweeping an unfinished image", name=left.name)
                _remove_tree(left)
            finally:
                release(lock, descriptor)
        for name in sorted(entry.name for entry in os.scandir(self.root)):
            digest = Digest.from_directory_name(name)
            if digest is not None and self._read(digest) is None:
                self.remove(digest)

    def lock_of(self, digest: Digest) -> Path:
        """The lock to hold around `begin`, `complete`, `abandon` and `remove`."""
        return self._locks / f"{digest.directory_name}.lock"

    def find(self, digest: Digest, *, used_at: float | None = None) -> CachedImage | None:
        """Return the image if the cache holds it whole; note that it was used at that time (Unix seconds)."""
        image = self._read(digest)
        if image is not None and used_at is not None:
            os.utime(image.path.with_name(_FACTS), (used_at, used_at))
        return image

    def last_used(self, digest: Digest) -> float:
        """When the image was last asked for, in Unix seconds."""
        return (self._directory(digest) / _FACTS).stat().st_mtime

    def all(self) -> Iterator[CachedImage]:
        """Yield what the cache holds whole, ordered by digest."""
        for name in sorted(entry.name for entry in os.scandir(self.root)):
            digest = Digest.from_directory_name(name)
            image = None if digest is None else self._read(digest)
            if image is not None:
                yield image

    def begin(self, digest: Digest) -> Path:
        """Make room for an incoming image; return where to write its bytes."""
        self.abandon(digest)
        directory = self._incoming / digest.directory_name
        directory.mkdir(mode=_PASSABLE)
        directory.chmod(_PASSABLE)
        return directory / _IMAGE

    def complete(self, digest: Digest, *, image_format: ImageFormat, virtual_size: int, used_at: float) -> CachedImage:
        """Let the incoming image, synced by its writer, appear in the cache."""
        incoming = self._incoming / digest.directory_name
        path = incoming / _IMAGE
        path.chmod(_READABLE)
        size = path.stat().st_size
        facts = {"format": image_format.value, "virtualSize": virtual_size, "size": size}
        write_atomically(incoming / _FACTS, json.dumps(facts).encode(), mode=_READABLE)
        os.utime(incoming / _FACTS, (used_at, used_at))
        final = self._directory(digest)
        if final.exists():  # not whole, or we would not be here
            _remove_tree(final)
        incoming.rename(final)
        sync_directory(self.root)
        return CachedImage(
            path=final / _IMAGE, digest=str(digest), format=image_format, virtual_size=virtual_size, size=size
        )

    def abandon(self, digest: Digest) -> None:
        """Remove what is incoming, if anything."""
        _remove_tree(self._incoming / digest.directory_name)

    def remove(self, digest: Digest) -> bool:
        """Take the image out of the cache: it vanishes at once, its bytes after that. False if it was not there."""
        self.abandon(digest)
        try:
            self._directory(digest).rename(self._incoming / digest.directory_name)
        except FileNotFoundError:
            return False
        sync_directory(self.root)
        self.abandon(digest)
        return True

    @property
    def _incoming(self) -> Path:
        return self.root / "incoming"

    @property
    def _locks(self) -> Path:
        return self.root / "locks"

    def _directory(self, digest: Digest) -> Path:
        return self.root / digest.directory_name

    def _read(self, digest: Digest) -> CachedImage | None:
        directory = self._directory(digest)
        try:
            facts = json.loads((directory / _FACTS).read_bytes())
            image = CachedImage(
                path=directory / _IMAGE,
                digest=str(digest),
                format=ImageFormat(facts["format"]),
                virtual_size=int(facts["virtualSize"]),
                size=int(facts["size"]),
            )
            size = image.path.stat().st_size
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError) as error:
            _LOG.warning("an image in the cache is damaged", digest=str(digest), error=str(error))
            return None
        if size != image.size:
            _LOG.warning("an image in the cache has changed its size", digest=str(digest), size=size, was=image.size)
            return None
        return image


def _remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
