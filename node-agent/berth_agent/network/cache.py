"""What was done for each attachment, on disk before it is done.

DEL must be given the configuration and the result of ADD, not what the network says today, and must run even when the
agent was killed between two plugins. So an entry is there before the first plugin runs, and goes after the last link.
Entries are replaced atomically: what is read is whole, also after a power cut. The directory is synced when an entry
comes and when it goes; an older phase that a power cut brings back only means that DEL runs once more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog
from pydantic import TypeAdapter, ValidationError

from berth_agent.network.attachments import Attachment, AttachmentRequest
from berth_agent.network.chains import Json
from berth_agent.network.datapaths import HostLinks
from berth_agent.network.errors import CacheUnreadable, NetworkError
from berth_agent.network.names import LinkNames

log = structlog.get_logger()

_MODE = 0o600
_Identity = tuple[int, int, int]
"""Inode, time of change in nanoseconds, size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One incarnation of an attachment.

    Attributes:
        phase: `adding` until everything is there; `removing` from when DEL may have run.
        capability_args: as ADD was given them.
        result: the last plugin's; None while ADD has not succeeded.
        attachment: what was produced; None until then.
        links: identity of tap and veth; None until both are there.
        kept_tap: interface index of a tap that an earlier incarnation made and a guest may have open.
        link_key: what its links are named by, where that is not its owner: it was another's, and its guest runs.
    """

    format: Literal[1] = 1
    phase: Literal["adding", "complete", "removing"]
    request: AttachmentRequest
    container_id: str
    sandbox: str
    capability_args: Json
    result: Json | None = None
    attachment: Attachment | None = None
    links: HostLinks | None = None
    kept_tap: int | None = None
    link_key: str | None = None

    @property
    def tap(self) -> int | None:
        """Interface index of the tap, where there has been one."""
        return self.kept_tap if self.links is None else self.links.tap

    @property
    def names(self) -> LinkNames:
        """Its links' names."""
        own = LinkNames.of(self.request.owner_uid, self.request.interface)
        return own if self.link_key is None else LinkNames(self.link_key)


_ENTRY = TypeAdapter(CacheEntry)


class AttachmentCache:
    """A directory with a file per attachment. Methods block on the disk: call them in a thread, several at once or not.

    Every VM's every look goes over all entries, so what was read is kept with the file's identity, and read again only
    when another file is in its place: nothing here is ever written into a file that is there.

    Args:
        directory: made, for root alone, when first written to.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[Path, tuple[_Identity, CacheEntry]] = {}

    def read(self, owner_uid: str, interface: str) -> CacheEntry | None:
        """Return an attachment's entry.

        Raises:
            CacheUnreadable: there is one, and it is damaged.
        """
        return self._read(self._path(owner_uid, interface))

    def write(self, entry: CacheEntry) -> None:
        """Store an entry durably, replacing the one before."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(entry.request.owner_uid, entry.request.interface)
        scratch = path.with_suffix(".new")
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        with os.fdopen(handle, "wb") as file:
            file.write(_ENTRY.dump_json(entry))
            file.flush()
            os.fsync(file.fileno())
        is_new = not path.exists()
        scratch.rename(path)
        if is_new:
            self._sync()

    def remove(self, entry: CacheEntry) -> None:
        """Forget an attachment; one that is not there is fine."""
        self._path(entry.request.owner_uid, entry.request.interface).unlink(missing_ok=True)
        self._sync()

    def entries(self) -> Iterator[CacheEntry]:
        """Return all entries; a damaged one is logged and left out, so that it stops nobody else's attachments."""
        paths = sorted(self._directory.glob("*.json"))
        for gone in self._known.keys() - paths:
            self._known.pop(gone, None)
        for path in paths:
            try:
                entry = self._read(path)
            except CacheUnreadable as error:
                log.error("attachment record is damaged", path=str(path), error=str(error))
                continue
            if entry is not None:
                yield entry

    def _path(self, owner_uid: str, interface: str) -> Path:
        return self._directory / f"{LinkNames.of(owner_uid, interface).key}.json"

    def _read(self, path: Path) -> CacheEntry | None:
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                identity = (found.st_ino, found.st_mtime_ns, found.st_size)
                known = self._known.get(path)
                if known is not None and known[0] == identity:
                    return known[1]
                entry = _ENTRY.validate_json(file.read())
        except FileNotFoundError:
            return None
        except (ValidationError, NetworkError) as error:
            raise CacheUnreadable(
                f"{path} cannot be read, so its plugins' reservations cannot be released: restore it, or release them "
                f"by hand and delete it. {error}"
            ) from error
        self._known[path] = identity, entry
        return entry

    def _sync(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
