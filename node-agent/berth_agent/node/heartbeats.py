"""The node's heartbeat: a Lease that is renewed, and nothing else.

It runs beside everything else and shares nothing with it but the connection to the API server, so no VM, image or
hung libvirtd can stop it. A renewal that fails is tried again at the next beat: the Lease outlives three missed ones.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from berth_api.client import AlreadyExists, Api, ApiError, Conflict, NotFound
from berth_api.kinds import LEASE

log = structlog.get_logger()

_LEAST_PAUSE = 1.0
"""Seconds between two beats, where one took longer than the interval."""
_MISSED = 3
_SLACK = 60.0
"""Attempts, and seconds on top for one whose requests each take as long as they may, without which beating has stopped.
"""


class Heartbeat:
    """Renews the Lease `namespace/node_name` every `interval` seconds.

    `valid` is the number of seconds after which a reader should take the node for lost.
    """

    def __init__(
        self,
        api: Api,
        *,
        namespace: str,
        node_name: str,
        interval: float,
        valid: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._node = node_name
        self._interval = interval
        self._valid = valid
        self._now = now
        self._lease: dict[str, Any] | None = None
        self._clock = clock
        self._renewed_at = self._attempted_at = clock()

    @property
    def age(self) -> float:
        """Seconds since the Lease was last renewed, or since the start."""
        return self._clock() - self._renewed_at

    def problem(self) -> str:
        """Why no heartbeat is even attempted, in words; empty: they are, whether the API server takes them or not."""
        silent = self._clock() - self._attempted_at
        return f"none was attempted for {silent:.0f} s" if silent > _MISSED * self._interval + _SLACK else ""

    async def run(self) -> None:
        """Renew until cancelled, at the same pace however long the API server takes to answer."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            self._attempted_at = self._clock()
            try:
                await self.beat()
            except ApiError as error:
                reason = error.reason or type(error).__name__
                log.warning("heartbeat not renewed", node=self._node, reason=reason, error=str(error))
            await asyncio.sleep(max(_LEAST_PAUSE, begun + self._interval - loop.time()))

    async def beat(self) -> None:
        """Renew once.

        Raises:
            ApiError: the API server did not take it.
        """
        try:
            try:
                self._lease = await self._renew()
            except Conflict:  # somebody else wrote it: read it again
                self._lease = None
                self._lease = await self._renew()
        except ApiError:
            self._lease = None
            raise
        self._renewed_at = self._clock()

    async def _renew(self) -> dict[str, Any]:
        if self._lease is None:
            try:
                self._lease = await self._api.get(LEASE, self._node, self._namespace)
            except NotFound:
                return await self._create()
        spec = {**(self._lease.get("spec") or {}), **self._spec()}
        return await self._api.update(LEASE, self._node, self._namespace, {**self._lease, "spec": spec})

    async def _create(self) -> dict[str, Any]:
        body = {"metadata": {"name": self._node}, "spec": {**self._spec(), "acquireTime": _micro_time(self._now())}}
        try:
            return await self._api.create(LEASE, body, self._namespace)
        except AlreadyExists:
            return await self._api.get(LEASE, self._node, self._namespace)

    def _spec(self) -> dict[str, Any]:
        return {
            "holderIdentity": self._node,
            "leaseDurationSeconds": self._valid,
            "renewTime": _micro_time(self._now()),
        }


def _micro_time(moment: datetime) -> str:
    """The format of `metav1.MicroTime`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
