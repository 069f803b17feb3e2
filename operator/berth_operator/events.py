"""Kubernetes Events about VMs: what `kubectl describe vm` shows of a decision.

Events are a courtesy: they are sent beside the work, never before it, and few while VMs wait to be bound; when the API
server is slow they are dropped rather than piled up. The same thing is said once about a VM, not at each retry.
Source: Kubernetes events.k8s.io/v1.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from berth_api import kinds
from berth_api.client import Api, ApiError
from berth_api.fields import OPERATOR
from berth_api.virtualmachines import VirtualMachine

_LOGGER = logging.getLogger(__name__)
_BACKLOG = 10_000
_BUSY_PAUSE = 0.05
"""Seconds between Events while VMs wait to be bound: a write is a write to the API server."""
_REMEMBERED = 20_000
MAX_NOTE = 1024
"""Bytes that the API server takes as a note."""


class Events:
    """Sends Events in the background for as long as `run` does."""

    def __init__(
        self,
        api: Api,
        *,
        instance: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        backlog: int = _BACKLOG,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._api, self._instance, self._now, self._busy = api, instance, now, busy
        self._queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(backlog)
        self._last: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def tell(self, vm: VirtualMachine, type_: Literal["Normal", "Warning"], reason: str, note: str) -> None:
        """Say something about a VM, unless it was the last thing said about it."""
        uid = vm.metadata.uid
        if self._last.get(uid) == (reason, note):
            return
        self._last[uid] = (reason, note)
        self._last.move_to_end(uid)
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        try:
            self._queue.put_nowait((vm.metadata.namespace, self._event(vm, type_, reason, note)))
        except asyncio.QueueFull:
            _LOGGER.warning("too many events wait for the API server; dropped: %s: %s", reason, note)

    async def run(self) -> None:
        """Send until cancelled; slowly while there is more important work."""
        while True:
            namespace, body = await self._queue.get()
            if self._busy():
                await asyncio.sleep(_BUSY_PAUSE)
            try:
                await self._api.create(kinds.EVENT, body, namespace)
            except ApiError as error:
                _LOGGER.warning("an event could not be sent and is dropped: %s: %s", body["reason"], error)

    def _event(self, vm: VirtualMachine, type_: str, reason: str, note: str) -> dict[str, Any]:
        name, namespace = vm.metadata.name, vm.metadata.namespace
        return {
            "metadata": {"name": f"{name}.{uuid4().hex[:16]}", "namespace": namespace},
            "eventTime": self._now().astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "reportingController": f"berth.dev/{OPERATOR}",
            "reportingInstance": self._instance[:128],
            "action": "Scheduling",
            "reason": reason,
            "type": type_,
            "note": note.encode()[:MAX_NOTE].decode(errors="ignore"),
            "regarding": {
                "apiVersion": vm.api_version,
                "kind": kinds.VIRTUAL_MACHINE.kind,
                "namespace": namespace,
                "name": name,
                "uid": vm.metadata.uid,
                "resourceVersion": vm.metadata.resource_version,
            },
        }
