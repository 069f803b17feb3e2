"""The heartbeats of all nodes, evenly spread.

A thousand in a burst every ten seconds would be another load than real nodes make, and a worse one. A node that fell
behind (the API server was away) does not make up for what it missed.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from berth_api.client import Api, ApiError, NotFound
from berth_api.kinds import LEASE
from berth_dev.hollow import objects
from berth_dev.hollow.options import HollowOptions
from berth_dev.hollow.reports import Report

_LOGGER = logging.getLogger(__name__)


class Heartbeats:
    """Renews the Leases of all nodes but those that `is_silent` names."""

    def __init__(
        self,
        api: Api,
        options: HollowOptions,
        report: Report,
        *,
        is_silent: Callable[[str], bool],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._options, self._report = api, options, report
        self._is_silent, self._now = is_silent, now
        self._versions: dict[str, str] = {}
        self._beating: set[str] = set()

    async def run(self, versions: Mapping[str, str]) -> None:
        """Renew until cancelled, one node after the other, each once an interval.

        Args:
            versions: Resource version of each node's Lease, as far as is known.
        """
        self._versions = dict(versions)
        loop, names = asyncio.get_running_loop(), self._options.names
        step = self._options.heartbeat_interval / len(names)
        free = asyncio.Semaphore(2 * self._options.workers)  # real nodes do not wait for each other at all
        due = loop.time()
        async with asyncio.TaskGroup() as group:
            while True:
                for name in names:
                    due = max(due + step, loop.time() - self._options.heartbeat_interval)
                    await asyncio.sleep(due - loop.time())
                    if name in self._beating or self._is_silent(name):
                        continue
                    await free.acquire()
                    self._beating.add(name)
                    group.create_task(self._beat(name, free))

    async def _beat(self, name: str, free: asyncio.Semaphore) -> None:
        try:
            self._versions[name] = await self._renew(name)
        except ApiError as error:  # a Conflict, too: somebody else wrote it, so it is read again at the next beat
            self._versions.pop(name, None)
            self._report.missed_heartbeats += 1
            _LOGGER.warning("%s: heartbeat not renewed: %s", name, error)
        else:
            self._report.heartbeats += 1
        finally:
            self._beating.discard(name)
            free.release()

    async def _renew(self, name: str) -> str:
        api, namespace = self._api, self._options.namespace
        try:
            version = self._versions.get(name) or (await api.get(LEASE, name, namespace))["metadata"]["resourceVersion"]
            body = objects.lease(self._options, name, self._now(), version)
            written = await api.update(LEASE, name, namespace, body)
        except NotFound:
            written = await api.create(LEASE, objects.lease(self._options, name, self._now()), namespace)
        return str(written["metadata"]["resourceVersion"])
