"""A watcher that answers by a script, and a sink that remembers what there is."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from berth_api.client import ObjectList, Unavailable, WatchEvent
from berth_api.kinds import Kind

Step = WatchEvent | Exception | float
"""An event, an error, or seconds in which nothing comes."""
FOREVER = 1e9
LOST = Unavailable(0, "", "connection lost")
LIST = "list"


def named(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "resourceVersion": str(version)}}


def added(name: str, version: int) -> WatchEvent:
    return WatchEvent("ADDED", named(name, version))


def deleted(name: str, version: int) -> WatchEvent:
    return WatchEvent("DELETED", named(name, version))


def bookmark(version: int) -> WatchEvent:
    return WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def listed(version: int, *names: str) -> ObjectList:
    return ObjectList([named(name, version) for name in names], str(version))


@dataclass
class Copy:
    """A sink that remembers what there is.

    Attributes:
        names: Of the objects.
        told: Every call, by name.
    """

    names: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def upsert(self, body: Mapping[str, Any]) -> None:
        self.names.add(body["metadata"]["name"])
        self._note(f"upsert {body['metadata']['name']}")

    def remove(self, body: Mapping[str, Any]) -> None:
        self.names.discard(body["metadata"]["name"])
        self._note(f"remove {body['metadata']['name']}")

    def replace(self, listed: ObjectList) -> None:
        self.names = {item["metadata"]["name"] for item in listed.items}
        self._note("replace")

    def _note(self, what: str) -> None:
        self.told.append(what)
        self.changed.set()


@dataclass
class Scripted:
    """A watcher that answers by a script; when a script has run out, lists fail and watches hang.

    Attributes:
        lists: What each list is answered with.
        watches: What each watch tells; it ends after the last step.
        asked: `list`, or the version that was watched from, in order, and when.
        open: How many watches are open.
        options: What each call asked for.
    """

    lists: list[ObjectList | Exception] = field(default_factory=list)
    watches: list[list[Step]] = field(default_factory=list)
    asked: list[tuple[float, str]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    open: int = 0

    @property
    def order(self) -> Sequence[str]:
        """What was asked for, without the time."""
        return [what for _, what in self.asked]

    async def list(self, kind: Kind, namespace: str = "", **options: Any) -> ObjectList:
        self._note(LIST, kind=kind, namespace=namespace, **options)
        answer = self.lists.pop(0) if self.lists else LOST
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def watch(
        self, kind: Kind, namespace: str = "", *, resource_version: str, **options: Any
    ) -> AsyncGenerator[WatchEvent, None]:
        self._note(resource_version, kind=kind, namespace=namespace, **options)
        self.open += 1
        try:
            for step in self.watches.pop(0) if self.watches else [FOREVER]:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.open -= 1

    def _note(self, what: str, **options: Any) -> None:
        self.asked.append((asyncio.get_running_loop().time(), what))
        self.options.append(options)
