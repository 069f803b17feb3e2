"""Kubernetes Events about VMs: what `kubectl describe vm` shows of what was done about one.

Events are a courtesy: they are sent beside the work, never before it; when the API server is slow they are dropped
rather than piled up. The same thing is said once about a VM, not at each retry, and a VM that has ever something new to
say (a crash loop counts its attempts) is heard ever less.
Source: Kubernetes events.k8s.io/v1; client-go's EventSourceObjectSpamFilter for the allowance.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from berth_api import logs
from berth_api.client import AlreadyExists, Api, ApiError
from berth_api.kinds import EVENT, VIRTUAL_MACHINE
from berth_api.objects import GROUP
from berth_api.virtualmachines import VirtualMachine

_LOGGER = logging.getLogger(__name__)
_BACKLOG = 10_000
_REMEMBERED = 20_000
_FLUSHERS = 16
"""Events that are sent at once when a process ends."""
MAX_NOTE = 1024
"""Bytes that the API server takes as a note."""
MAX_REASON = 128
"""Characters that the API server takes as a reason, and as the name of a reporting instance."""

EventType = Literal["Normal", "Warning"]


@dataclass(frozen=True)
class Allowance:
    """How many Events about one VM are sent: so many at once, and then one for each `refill` seconds."""

    burst: int = 25
    refill: float = 300.0
    """Both are client-go's."""


@dataclass
class _Said:
    """What was said about a VM, and how much more may be."""

    last: tuple[str, str]
    tokens: float
    at: float


class EventRecorder:
    """Sends Events in the background for as long as `run` does.

    Args:
        api: Where to.
        controller: Which part reports, such as berth-agent.
        instance: Which of its instances.
        action: What the part was doing, in one CamelCase word.
        pause: Seconds to wait before the next Event; asked before each.
        allowance: How much may be said about one VM; None: anything that is new.
        now: The time of day, for the Event.
        clock: Monotonic seconds, for the allowance.
        backlog: Events that may wait to be sent.
    """

    def __init__(
        self,
        api: Api,
        *,
        controller: str,
        instance: str,
        action: str,
        pause: Callable[[], float] = lambda: 0.0,
        allowance: Allowance | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = lambda: 0.0,
        backlog: int = _BACKLOG,
    ) -> None:
        self._api, self._controller, self._instance, self._action = api, controller, instance, action
        self._pause, self._allowance, self._now, self._clock = pause, allowance, now, clock
        self._queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(backlog)
        self._said: OrderedDict[str, _Said] = OrderedDict()

    def tell(self, vm: VirtualMachine, type_: EventType, reason: str, note: str) -> None:
        """Say something about a VM, unless it was the last thing said about it. Never waits, never fails."""
        if not self._is_worth_saying(vm.metadata.uid, (reason, note)):
            return
        try:
            self._queue.put_nowait((vm.metadata.namespace, self._event(vm, type_, reason, note)))
        except asyncio.QueueFull:
            with logs.tagged(**logs.fields_of(vm)):
                _LOGGER.warning("too many events wait for the API server; dropped: %s: %s", reason, note)

    async def run(self) -> None:
        """Send until cancelled. What was being sent then is kept, and sent by the next `run`, or by `flush`."""
        while True:
            namespace, body = await self._queue.get()
            try:
                pause = self._pause()
                if pause:
                    await asyncio.sleep(pause)
                await self._send(namespace, body)
            except asyncio.CancelledError:
                self._keep(namespace, body)
                raise

    async def flush(self, within: float) -> None:
        """Send all that waits, side by side, before the process ends; drop what takes longer than so many seconds."""
        if self._queue.empty():
            return
        try:
            async with asyncio.timeout(within), asyncio.TaskGroup() as group:
                for _ in range(min(_FLUSHERS, self._queue.qsize())):
                    group.create_task(self._empty())
        except TimeoutError:
            _LOGGER.warning("%d events could not be sent in time and are dropped", self._queue.qsize())

    async def _empty(self) -> None:
        while not self._queue.empty():
            await self._send(*self._queue.get_nowait())

    async def _send(self, namespace: str, body: dict[str, Any]) -> None:
        regarding = body["regarding"]
        with logs.tagged(vm=f"{namespace}/{regarding['name']}", uid=regarding["uid"]):
            await self._try(namespace, body)

    async def _try(self, namespace: str, body: dict[str, Any]) -> None:
        try:
            await self._api.create(EVENT, body, namespace)
        except AlreadyExists:
            _LOGGER.debug("an event was sent already, and its answer was lost: %s", body["reason"])
        except ApiError as error:
            _LOGGER.warning("an event could not be sent and is dropped: %s: %s", body["reason"], error)

    def _keep(self, namespace: str, body: dict[str, Any]) -> None:
        if not self._queue.full():
            self._queue.put_nowait((namespace, body))

    def _is_worth_saying(self, uid: str, what: tuple[str, str]) -> bool:
        said = self._said.get(uid)
        if said is not None and said.last == what:
            return False
        at, burst = self._clock(), self._allowance.burst if self._allowance is not None else 1
        if said is None:
            said = self._said[uid] = _Said(what, burst, at)
        self._said.move_to_end(uid)
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        said.last = what
        if self._allowance is None:
            return True
        said.tokens = min(burst, said.tokens + (at - said.at) / self._allowance.refill)
        said.at = at
        if said.tokens < 1:
            _LOGGER.debug("too many events about one VM; dropped: %s: %s", *what)
            return False
        said.tokens -= 1
        return True

    def _event(self, vm: VirtualMachine, type_: EventType, reason: str, note: str) -> dict[str, Any]:
        name, namespace = vm.metadata.name, vm.metadata.namespace
        return {
            "metadata": {"name": f"{name}.{uuid4().hex[:16]}", "namespace": namespace},
            "eventTime": self._now().astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "reportingController": f"{GROUP}/{self._controller}",
            "reportingInstance": self._instance[:MAX_REASON],
            "action": self._action,
            "reason": reason[:MAX_REASON],
            "type": type_,
            "note": note.encode()[:MAX_NOTE].decode(errors="ignore"),
            "regarding": {
                "apiVersion": vm.api_version,
                "kind": VIRTUAL_MACHINE.kind,
                "namespace": namespace,
                "name": name,
                "uid": vm.metadata.uid,
                "resourceVersion": vm.metadata.resource_version,
            },
        }
