"""An API server in memory that can be watched, and the VMs in it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.api import FakeApi

from berth_api.client import WatchEvent
from berth_api.fields import FINALIZER, OPERATOR
from berth_api.kinds import VIRTUAL_MACHINE, Kind

GIB = 2**30


@dataclass
class WatchedApi(FakeApi):
    """Tells every change to those who watch the kind; selectors and versions are not looked at."""

    watches: dict[str, list["asyncio.Queue[WatchEvent]"]] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of what is stored."""
        async with asyncio.timeout(600):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    async def watch(self, kind: Kind, *_: Any, **__: Any) -> AsyncGenerator[WatchEvent, None]:
        events: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self.watches.setdefault(kind.plural, []).append(events)
        while True:
            yield await events.get()

    def _insert(self, kind: Kind, key: tuple[str, str, str], body: dict[str, Any]) -> dict[str, Any]:
        stored = super()._insert(kind, key, body)
        self._tell("ADDED", key[0], stored)
        return stored

    def _store(self, key: tuple[str, str, str], changed: dict[str, Any]) -> dict[str, Any]:
        before = self._version
        stored = super()._store(key, changed)
        if self._version != before:
            self._tell("MODIFIED", key[0], stored)
        return stored

    def _drop(self, key: tuple[str, str, str]) -> None:
        body = self._objects.get(key)
        super()._drop(key)
        if body is not None:
            self._version += 1
            last = deepcopy(body)
            last["metadata"]["resourceVersion"] = str(self._version)
            self._tell("DELETED", key[0], last)

    def _tell(self, what: str, plural: str, body: dict[str, Any]) -> None:
        self.changed.set()
        for events in self.watches.get(plural, []):
            events.put_nowait(WatchEvent(what, deepcopy(body)))


def claim(claim_id: str = "c1", *, cpu: str = "1", memory: str = "1Gi", epoch: int = 1, **more: Any) -> dict[str, Any]:
    """A claim on a node."""
    nic = {"name": "nic", "networkName": "lan", "macAddress": "02:be:00:00:00:01", "ipAddresses": ["10.7.0.9/24"]}
    pools = [{"name": "default", "size": "1Gi"}]
    amounts = {"cpu": cpu, "memory": memory, "storage": "1Gi", "pools": pools, "interfaces": [nic]}
    return {"id": claim_id, "epoch": epoch, **amounts, **more}


def vm_body(name: str, node: str = "", **status: Any) -> dict[str, Any]:
    """A VM as it is stored, bound where a node is given, with the claim `c1` unless another is."""
    if node:
        status = {"nodeName": node, "claim": claim(), "phase": "Scheduled", **status}
    disk = {"name": "root", "size": "1Gi"}
    return {
        "metadata": {"name": name, "namespace": "default", "finalizers": [FINALIZER]},
        "spec": {"cpu": {"cores": 1}, "memory": {"size": "1Gi"}, "disks": [disk]},
        "status": status,
    }


async def bind(api: FakeApi, name: str, node: str, claimed: dict[str, Any]) -> None:
    """What the operator writes."""
    status = {"nodeName": node, "claim": claimed, "phase": "Scheduled"}
    await api.apply(VIRTUAL_MACHINE, name, "default", {"status": status}, field_manager=OPERATOR, subresource="status")


def status_of(api: FakeApi, name: str) -> dict[str, Any]:
    """What a VM says."""
    body = api.peek(VIRTUAL_MACHINE, name, "default")
    assert body is not None
    status: dict[str, Any] = body["status"]
    return status
