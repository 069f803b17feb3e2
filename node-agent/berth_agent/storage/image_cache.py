"""The images of a node, each fetched once however many VMs ask for it, whoever of them stops asking.

The races it faces: many VMs asking for one image at once, the last of them deleted while it is being fetched; a crash
at any moment; a second process on the same directory; an image that ages out while a disk is being made on it, which
cannot happen as long as `keep_seconds` is longer than making a disk takes, because asking for an image makes it young.
"""

import asyncio
from collections.abc import Callable, Collection
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from berth_agent.storage.cache_entries import CacheEntries
from berth_agent.storage.destinations import DestinationPolicy
from berth_agent.storage.downloads import download
from berth_agent.storage.errors import ChecksumMismatch, DownloadTimedOut, ImageBusy, ImageInUse
from berth_agent.storage.file_locks import locked
from berth_agent.storage.files import copy
from berth_agent.storage.image_tool import ImageTool
from berth_agent.storage.inspection import inspect
from berth_agent.storage.lanes import Lane
from berth_agent.storage.resolvers import BoundedResolver
from berth_agent.storage.settings import DownloadLimits, ImageLimits
from berth_agent.storage.sinks import ImageSink
from berth_agent.storage.slots import Slots
from berth_agent.storage.sources import CachedImage, Digest, FileSource, HttpSource, ImageSource, Progress
from berth_agent.storage.threads import run_in_thread

_LOG = structlog.get_logger(__name__)

_EXPIRY_LOCK_SECONDS = 1.0
_Key = tuple[Digest, ImageSource]


@dataclass(eq=False)
class _Flight:
    """One fetch and those who wait for it."""

    task: asyncio.Task[CachedImage]
    listeners: list[Progress] = field(default_factory=list)
    waiting: int = 0


class ImageCache:
    """Content-addressed images below one directory.

    Args:
        root: the cache's directory.
        destinations: where images may be fetched from.
        file_root: where file sources are; None if this node offers none.
        clock: Unix seconds; ages survive a restart, so it is not the monotonic clock.
    """

    def __init__(
        self,
        root: Path,
        *,
        destinations: DestinationPolicy,
        clock: Callable[[], float],
        file_root: Path | None = None,
        downloads: DownloadLimits | None = None,
        limits: ImageLimits | None = None,
    ) -> None:
        self._entries = CacheEntries(root)
        self._destinations = destinations
        self._file_root = file_root
        self._file_lane = Lane("the node's image directory")
        self._clock = clock
        self._downloads = downloads or DownloadLimits()
        self._limits = limits or ImageLimits()
        self._tool = ImageTool(self._limits)
        self._slots = Slots(self._downloads.concurrent, self._downloads.lend_seconds)
        self._resolver = BoundedResolver(self._downloads.concurrent)
        self._flights: dict[_Key, _Flight] = {}

    async def start(self) -> None:
        """Make the directories and sweep what a crash left; before anything else."""
        await run_in_thread(self._entries.prepare)

    async def ensure(self, source: ImageSource, checksum: str, *, progress: Progress | None = None) -> CachedImage:
        """Return the image, fetching it if this node does not hold it.

        Callers with the same source and checksum share one fetch; it is cancelled, and leaves nothing, when the last of
        them is cancelled. `progress` is called from the event loop and must not block or raise.

        Raises:
            StorageError: one of its kinds; `reason` and `retryable` say what it means. Nothing is left behind.
        """
        digest = Digest.parse(checksum)
        key = (digest, source)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._take_off(key)
        if progress is not None:
            flight.listeners.append(progress)
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if progress is not None:
                flight.listeners.remove(progress)
            if flight.waiting == 0 and not flight.task.done():
                await self._abort(key, flight)

    async def holds(self, checksum: str) -> bool:
        """Whether the image is here already, so that `ensure` will not fetch it.

        Raises:
            InvalidSource: the checksum is none.
        """
        return await run_in_thread(self._entries.find, Digest.parse(checksum)) is not None

    async def images(self) -> tuple[CachedImage, ...]:
        """What this node holds, ordered by digest: a directory listing and a small file each."""
        return await run_in_thread(lambda: tuple(self._entries.all()))

    async def remove(self, digest: str, *, in_use: Collection[str]) -> bool:
        """Drop the image now; False if it was not there.

        Args:
            digest: ``sha256:<hex>``.
            in_use: the digests that disks have as backing files.

        Raises:
            ImageInUse: it is one of those.
            ImageBusy: another process works on it for longer than the deadline.
        """
        parsed = Digest.parse(digest)
        if digest in in_use:
            raise ImageInUse(f"{digest} is the backing file of a disk on this node: delete the disk first")
        async with locked(self._entries.lock_of(parsed), within_seconds=self._limits.lock_seconds):
            return await run_in_thread(self._entries.remove, parsed)

    async def expire(self, *, in_use: Collection[str], keep_seconds: float) -> tuple[str, ...]:
        """Drop images that no disk stands on and nobody asked for in that time; return their digests.

        An image that a disk stands on counts as just asked for, so its time begins when the last disk goes.
        """
        dropped = []
        for image in await self.images():
            digest = Digest.parse(image.digest)
            try:
                async with locked(self._entries.lock_of(digest), within_seconds=_EXPIRY_LOCK_SECONDS):
                    if await run_in_thread(self._expire_one, digest, used=image.digest in in_use, keep=keep_seconds):
                        dropped.append(image.digest)
            except ImageBusy as error:
                _LOG.info("an image is not aged now, it is being worked on", digest=image.digest, error=str(error))
        return tuple(dropped)

    def _expire_one(self, digest: Digest, *, used: bool, keep: float) -> bool:
        now = self._clock()
        if used:
            self._entries.find(digest, used_at=now)
            return False
        if self._entries.find(digest) is None or now - self._entries.last_used(digest) <= keep:
            return False
        _LOG.info("dropping an unused image", digest=str(digest))
        return self._entries.remove(digest)

    def _take_off(self, key: _Key) -> _Flight:
        listeners: list[Progress] = []

        def tell(received: int, expected: int | None) -> None:
            for listener in tuple(listeners):
                listener(received, expected)

        digest, source = key
        fetch = self._fetch(digest, source, tell)
        task = asyncio.create_task(fetch, name=f"image {digest}", context=Context())  # no lines of whoever asked first
        flight = _Flight(task, listeners)
        self._flights[key] = flight
        flight.task.add_done_callback(lambda _: self._land(key, flight))
        return flight

    def _land(self, key: _Key, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _abort(self, key: _Key, flight: _Flight) -> None:
        """Cancel the fetch and see it end; whoever asks meanwhile takes off anew, and waits for the image's lock."""
        self._land(key, flight)
        flight.task.cancel()
        while not flight.task.done():
            try:
                await asyncio.wait({flight.task})
            except asyncio.CancelledError:
                continue  # the caller is being cancelled already
        if not flight.task.cancelled():
            flight.task.exception()

    async def _fetch(self, digest: Digest, source: ImageSource, progress: Progress) -> CachedImage:
        found = await run_in_thread(self._entries.find, digest, used_at=self._clock())
        if found is not None:
            return found
        async with locked(self._entries.lock_of(digest), within_seconds=self._limits.lock_seconds), self._slots.one():
            found = await run_in_thread(self._entries.find, digest, used_at=self._clock())
            if found is not None:
                return found
            path = await run_in_thread(self._entries.begin, digest)
            try:
                await self._receive(source, digest, path, progress)
                image_format, virtual_size = await inspect(path, tool=self._tool, limits=self._limits)
                return await run_in_thread(
                    self._entries.complete,
                    digest,
                    image_format=image_format,
                    virtual_size=virtual_size,
                    used_at=self._clock(),
                )
            finally:  # nothing is incoming any more if it is complete
                await run_in_thread(self._entries.abandon, digest)

    async def _receive(self, source: ImageSource, digest: Digest, path: Path, progress: Progress) -> None:
        with ImageSink(path, limits=self._downloads, progress=progress) as sink:
            match source:
                case HttpSource():
                    await download(
                        source,
                        sink,
                        limits=self._downloads,
                        destinations=self._destinations,
                        resolver=self._resolver,
                    )
                case FileSource():
                    await self._copy(source, sink)
            actual = await sink.finish()
        if actual != digest:
            raise ChecksumMismatch(expected=str(digest), actual=str(actual), source=str(source))

    async def _copy(self, source: FileSource, sink: ImageSink) -> None:
        limit = self._downloads.total_seconds
        try:
            async with asyncio.timeout(limit):
                await copy(source, sink, root=self._file_root, lane=self._file_lane)
        except TimeoutError as error:
            raise DownloadTimedOut(f"{source} could not be copied within {limit:g} s") from error
