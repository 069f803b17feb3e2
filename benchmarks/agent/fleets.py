"""VMs through the API server: created unbound, bound all at once, and deleted all at once.

No operator runs: claims are written here with its credentials, and the finalizer is dropped here, after the clock has
stopped. What is timed is read off a watch, so it includes the agent's own writes.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from benchmarks.agent import machines
from benchmarks.agent.machines import NAMESPACE, Guest
from berth_api.client import ApiClient, NotFound
from berth_api.fields import OPERATOR
from berth_api.kinds import VIRTUAL_MACHINE

_POOL = "default"


class Fleet:
    """The VMs of one namespace.

    Args:
        admin: The administrator's requests.
        operator: Requests with the operator's credentials.
        node: Where all are bound.
        patience: Seconds to wait for all of them to get anywhere.
    """

    def __init__(self, admin: ApiClient, operator: ApiClient, *, node: str, patience: float) -> None:
        self._admin, self._operator = admin, operator
        self._node, self._patience = node, patience

    async def create(self, guests: Sequence[Guest]) -> None:
        """Create the objects; no agent sees them yet."""
        made = (self._admin.create(VIRTUAL_MACHINE, machines.virtual_machine(one), NAMESPACE) for one in guests)
        await asyncio.gather(*made)

    async def start(self, guests: Sequence[Guest]) -> float:
        """Bind them all; seconds from the first claim's request until the agent says of the last that it runs.

        Raises:
            TimeoutError: They do not run in time; the message says what each waits for.
        """
        return await self._timed(guests, self._bind, machines.is_running)

    async def remove(self, guests: Sequence[Guest]) -> float:
        """Delete them all; seconds from the first request until the agent has released the last claim.

        Raises:
            TimeoutError: They are not taken down in time.
        """
        seconds = await self._timed(guests, self._delete, machines.is_released)
        await asyncio.gather(*(self._let_go(guest) for guest in guests))
        return seconds

    async def _timed(
        self,
        guests: Sequence[Guest],
        act: Callable[[Guest], Any],
        is_done: Callable[[Mapping[str, Any]], bool],
    ) -> float:
        version = (await self._admin.list(VIRTUAL_MACHINE, NAMESPACE)).resource_version
        waiting = {guest.name: "nothing was told of it" for guest in guests}
        begun = time.perf_counter()
        acting = asyncio.gather(*(act(guest) for guest in guests))
        try:
            async with asyncio.timeout(self._patience):
                await self._until(waiting, version, is_done)
        except TimeoutError:
            told = "; ".join(f"{name}: {what}" for name, what in sorted(waiting.items())[:5])
            raise TimeoutError(f"{len(waiting)} VMs are not done after {self._patience:g} s: {told}") from None
        finally:
            seconds = time.perf_counter() - begun
            await acting
        return seconds

    async def _until(self, waiting: dict[str, str], version: str, is_done: Callable[[Mapping[str, Any]], bool]) -> None:
        async with aclosing(self._admin.watch(VIRTUAL_MACHINE, NAMESPACE, resource_version=version)) as events:
            async for event in events:
                name = event.object["metadata"].get("name", "")
                if name not in waiting:
                    continue
                waiting[name] = _said(event.object)
                if is_done(event.object):
                    del waiting[name]
                if not waiting:
                    return

    async def _bind(self, guest: Guest) -> None:
        body = machines.binding(guest, self._node, pool=_POOL, now=datetime.now(UTC))
        await self._operator.apply(
            VIRTUAL_MACHINE, guest.name, NAMESPACE, body, field_manager=OPERATOR, subresource="status"
        )

    async def _delete(self, guest: Guest) -> None:
        await self._admin.delete(VIRTUAL_MACHINE, guest.name, NAMESPACE)

    async def _let_go(self, guest: Guest) -> None:
        drop = [{"op": "remove", "path": "/metadata/finalizers"}]
        try:
            await self._admin.patch_json(VIRTUAL_MACHINE, guest.name, NAMESPACE, drop)
            while True:
                await self._admin.get(VIRTUAL_MACHINE, guest.name, NAMESPACE)
        except NotFound:
            return


def _said(vm: Mapping[str, Any]) -> str:
    """What a VM waits for, in its own conditions' words."""
    status = vm.get("status", {})
    problems = [one.get("message", "") for one in status.get("conditions", []) if one.get("status") == "False"]
    return f"{status.get('phase', 'Pending')} {problems[0] if problems else ''}".strip()
