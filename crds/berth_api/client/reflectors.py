"""Keeping a copy of one kind of objects up to date: client-go's reflector.

A complete list, then a watch from the list's version, for ever. What the copy must survive: a watch that ends, breaks
off, falls silent or sends garbage goes on from the last version that was told. A version that the server has forgotten
(410, as a status or as an event) means that deletions may have been missed: everything is listed anew, and the list is
handed over as a whole, so that whoever keeps the copy sees what has vanished. Nothing that is incomplete ever removes
an object. A refusal (a kind that is not there yet, a role that is not granted yet) is logged and tried again: there is
no state in which the copy is blind and nobody can tell, because `last_contact` then stands still.

What is told is level-based, an object's present state: it may be told twice, and the sink lets the newest win.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import aclosing
from random import Random
from typing import Any, NoReturn

from berth_api.backoffs import Backoff
from berth_api.client.errors import ApiError, Gone, TooManyRequests, Unavailable
from berth_api.client.ports import ObjectList, Sink, Watcher
from berth_api.client.streams import BOOKMARK, DELETED, WatchEvent, is_object
from berth_api.kinds import Kind

_LOGGER = logging.getLogger(__name__)
SLICE = 25
"""Objects that are handed over before other tasks get their turn: a few milliseconds' work."""
_SHORT_WATCH = 1.0
"""Seconds. A watch that ends sooner and told nothing has failed; client-go draws the same line."""
_STEADY_WATCH = 30.0
"""Seconds: longer than it takes not to get a watch. What breaks off after that is a new failure, not one more."""
_FAILURES_UNTIL_LIST = 5
"""The server may have forgotten the version, or have been restored from a backup, and not be able to say so."""


class Reflector:
    """Tells a sink of all objects of one kind, and of all that happens to them.

    Attributes:
        synced: Set once the first complete list has been handed over. Until then the sink knows only a part.
        last_contact: The event loop's time when the server last told us anything about these objects, even that
            nothing has happened (it does so about once a minute); minus infinity before the first time.
    """

    def __init__(
        self,
        watcher: Watcher,
        kind: Kind,
        sink: Sink,
        *,
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
        timeout_seconds: int = 300,
        backoff: Backoff | None = None,
        random: Random | None = None,
    ) -> None:
        """Get ready; nothing is asked for yet.

        Args:
            watcher: The API server.
            kind: What to follow.
            sink: Who is told.
            namespace: Only objects in there; all where it is empty.
            field_selector: Only objects that it selects, now and later.
            label_selector: The same.
            timeout_seconds: After this and up to half of it more, each watch is ended and the next begins; a silent
                one is given up soon after.
            backoff: Pauses after failures.
            random: Spreads pauses and ends of watches.
        """
        self._watcher, self._kind, self._sink, self._namespace = watcher, kind, sink, namespace
        self._selectors = {"field_selector": field_selector, "label_selector": label_selector}
        self._timeout_seconds = timeout_seconds
        self._backoff = backoff or Backoff(0.2, 30.0)
        self._random = random or Random()  # noqa: S311 - it spreads load and guards nothing
        self._version = ""
        self._failures = 0
        self.synced = asyncio.Event()
        self.last_contact = -math.inf

    @property
    def silence(self) -> float:
        """Seconds since the last contact, infinite before the first one."""
        return asyncio.get_running_loop().time() - self.last_contact

    async def run(self) -> NoReturn:
        """Follow for ever; ends only by being cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except ApiError as error:
                await self._recover(error)

    async def _list(self) -> None:
        listed = await self._watcher.list(self._kind, self._namespace, **self._selectors)
        if not listed.resource_version or not all(map(is_object, listed.items)):
            raise Unavailable(200, "", f"the list of {self._kind.plural} holds what is no object")
        self._note_contact()
        await self._hand_over(listed)
        self._version = listed.resource_version
        self.synced.set()

    async def _hand_over(self, listed: ObjectList) -> None:
        """Tell of the objects in slices, then of the list as a whole, which by then says nothing that is new."""
        for number, item in enumerate(listed.items, 1):
            self._tell(self._sink.upsert, item)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        try:
            self._sink.replace(listed)
        except Exception as error:
            _LOGGER.exception("a bug: a list of %s cannot be taken in", self._kind.plural)
            raise Unavailable(0, "", f"the list of {self._kind.plural} was not taken in") from error

    async def _watch(self) -> None:
        now = asyncio.get_running_loop().time
        begun, told = now(), 0
        watch = self._watcher.watch(
            self._kind,
            self._namespace,
            resource_version=self._version,
            timeout_seconds=int(self._timeout_seconds * (1 + self._random.random() / 2)),
            **self._selectors,
        )
        try:
            async with aclosing(watch) as events:
                async for event in events:
                    self._take(event)
                    told += 1
                    if told % SLICE == 0:
                        await asyncio.sleep(0)
        finally:
            if told or now() - begun >= _STEADY_WATCH:
                self._failures = 0
        if not told and now() - begun < _SHORT_WATCH:
            raise Unavailable(0, "", "the watch ended at once and told nothing")
        self._failures = 0
        self._note_contact()

    def _take(self, event: WatchEvent) -> None:
        if event.type == DELETED:
            self._tell(self._sink.remove, event.object)
        elif event.type != BOOKMARK:
            self._tell(self._sink.upsert, event.object)
        self._version = event.version
        self._note_contact()

    def _tell(self, listener: Callable[[Mapping[str, Any]], None], body: Mapping[str, Any]) -> None:
        try:
            listener(body)
        except Exception:
            _LOGGER.exception("a bug: %s %.200s is not taken in", self._kind.kind, body["metadata"]["name"])

    def _note_contact(self) -> None:
        self.last_contact = asyncio.get_running_loop().time()

    async def _recover(self, error: ApiError) -> None:
        """Decide whether the version still holds, and wait a little."""
        self._failures += 1
        if isinstance(error, Gone):
            _LOGGER.info("listing %s anew: %s", self._kind.plural, error)
        else:
            level = logging.INFO if error.retryable and self._failures == 1 else logging.WARNING
            _LOGGER.log(level, "%s are not followed just now, trying again: %s", self._kind.plural, error)
        if isinstance(error, Gone) or not error.retryable or self._failures >= _FAILURES_UNTIL_LIST:
            self._version = ""
        pause = self._backoff.pause(self._failures, self._random)
        at_least = error.retry_after if isinstance(error, TooManyRequests) else 0.0
        await asyncio.sleep(max(pause, at_least))
