"""The operator's own work as a service: it starts and stops with kopf, and gives its Lease back when it is told to end.

kopf, told by a signal, first ends its watches, which may take seconds, and only then lets us stop: for so long nobody
would lead. So signals are ours: the work ends first (what is being written is finished, the Lease is given back, what
was to be told is told), and then kopf. A second signal changes nothing; who cannot wait sends SIGKILL.
"""

import asyncio
import logging
import signal
from collections.abc import Sequence
from random import Random

from berth_api.client import Api, ApiError, Reflector
from berth_api.watching import supervise
from berth_api.workqueues import Backoff
from berth_operator.leases import Election
from berth_operator.operation import Operation

_LOGGER = logging.getLogger(__name__)
_TELL = 5.0
"""Seconds in which Events that still wait are sent at the end: well within the 30 s that a Pod has for it."""


class Service:
    """Works from `start` to `stop`; when it fails, `stopped` is set, and `result` says why."""

    def __init__(self, api: Api, operation: Operation, election: Election, reflectors: Sequence[Reflector]) -> None:
        self._api, self._operation, self._election = api, operation, election
        self._reflectors = reflectors
        self._task: asyncio.Task[None] | None = None
        self.stopped = asyncio.Event()

    async def start(self) -> None:
        """Stand for leadership from now on."""
        self._task = asyncio.create_task(self._work(), name="operation")
        self._task.add_done_callback(lambda _: self.stopped.set())
        asyncio.get_running_loop().call_soon(self._take_signals, self._task)  # kopf is about to take them itself

    async def stop(self) -> None:
        """Stop deciding, give the Lease back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def result(self) -> None:
        """Raise what ended the work, if anything but `stop` or a signal did."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(supervise())
                for reflector in self._reflectors:
                    group.create_task(reflector.run())
                group.create_task(self._list())
                group.create_task(self._election.run(self._operation.lead))
        finally:
            await self._operation.events.flush(_TELL)

    async def _list(self) -> None:
        """Have what kopf watches listed once, whole: kopf does not tell when it has, and readiness has to know."""
        random, failures = Random(), 0  # noqa: S311 - jitter, not secrecy
        cluster = self._operation.cluster
        for reflector in self._reflectors:
            await reflector.synced.wait()
        cluster.note_listed(cluster.busy)
        while cluster.unlisted:
            try:
                await cluster.refresh(self._api, cluster.quiet)
            except ApiError as error:
                failures += 1
                _LOGGER.warning("cannot list the cluster yet, not ready: %s", error)
                await asyncio.sleep(Backoff(0.2, 5.0).pause(failures, random))

    def _take_signals(self, work: "asyncio.Task[None]") -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, work, number)

    @staticmethod
    def _end(work: "asyncio.Task[None]", number: signal.Signals) -> None:
        _LOGGER.info("told to end by %s", number.name)
        work.cancel()
