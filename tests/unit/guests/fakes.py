"""Guests that answer as a test says, and virtual time."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from berth_agent.guests.links import GuestLink
from berth_agent.hypervisor.errors import GuestAgentUnavailable
from berth_api.virtualmachines import VirtualMachine

START = datetime(2026, 1, 1, tzinfo=UTC)
LINK = GuestLink("bt0", "52:54:00:00:00:01", ("10.0.0.5/24",), "10.0.0.1")
LINKS = {"default": LINK}


class Clock:
    """The time of day, which goes with the loop's; it begins at `START`."""

    def __init__(self) -> None:
        self._begun = asyncio.get_running_loop().time()

    @property
    def passed(self) -> float:
        return round(asyncio.get_running_loop().time() - self._begun, 3)

    def __call__(self) -> datetime:
        return START + timedelta(seconds=self.passed)


class Guests:
    """All guests of a node, as a connector and as the hypervisor.

    Attributes:
        asked: when, by seconds since the clock's beginning, for each UID or address.
        error: what all questions end with from now on; None: with success.
        takes: seconds that an answer takes.
        at_once: the most questions that were under way together.
    """

    def __init__(self, clock: Clock) -> None:
        self.asked: defaultdict[str, list[float]] = defaultdict(list)
        self.connected: list[tuple[GuestLink, str, int, float]] = []
        self.error: Exception | None = None
        self.takes = 0.0
        self.at_once = 0
        self._under_way = 0
        self._clock = clock

    async def guest_ping(self, uid: str) -> None:
        await self._answer(uid)

    async def connect(self, link: GuestLink, address: str, port: int, deadline: float) -> None:
        self.connected.append((link, address, port, deadline))
        await self._answer(address)

    def agent_gone(self) -> None:
        self.error = GuestAgentUnavailable("no agent answers")

    async def _answer(self, who: str) -> None:
        self.asked[who].append(self._clock.passed)
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        try:
            await asyncio.sleep(self.takes)
            if self.error is not None:
                raise self.error
        finally:
            self._under_way -= 1


def vm_with(uid: str = "u1", **spec: Any) -> VirtualMachine:
    """A VM with probes, given as the API has them."""
    status = spec.pop("status", {})
    return VirtualMachine.from_api(
        {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "VirtualMachine",
            "metadata": {"namespace": "default", "name": f"vm-{uid}", "uid": uid},
            "spec": {"className": "small", "disks": [{"name": "root", "size": "1Gi"}], **spec},
            "status": status,
        }
    )
