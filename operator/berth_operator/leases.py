"""Who leads: one operator decides at a time, by a Lease that it renews.

Every write to the Lease is guarded by the resource version it was read at, so of two that reach for it one fails. Time
is our own: a foreign holder is given `duration` since *we* last saw its Lease change, and we stop deciding
`renew_deadline` after the *start* of our last successful renewal, which is before anyone else may take over. A process
that was frozen finds this out by asking `valid`, which looks at the clock, before every write.
The promise is that a dead leader is followed within 15 s: it is noticed at most `retry + duration` after its last
renewal, as who waits looks again at the very moment at which the Lease runs out; the rest is for reading the cluster.
No try may take the whole time: a link that died with the leader's machine would cost a successor its turn.
The Lease has whole seconds: it is published for no less than `duration`, or others would take over before the holder
has stopped.
The epoch is `leaseTransitions`: it grows with each change of holder, so agents can tell an old leader's claim.
Source: client-go tools/leaderelection (semantics, defaults).
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from berth_api import kinds
from berth_api.client import AlreadyExists, Api, ApiError, Conflict, NotFound

_LOGGER = logging.getLogger(__name__)


class NotLeadingError(Exception):
    """The leadership under which this was decided is over."""


@dataclass(frozen=True)
class LeaseTimes:
    """Seconds; `renew_deadline` less than `duration`, `retry` less than `renew_deadline`.

    Raises:
        ValueError: they are not.
    """

    duration: float = 9.0
    renew_deadline: float = 6.0
    retry: float = 1.0

    def __post_init__(self) -> None:
        if not self.retry < self.renew_deadline < self.duration:
            raise ValueError(
                f"lease times must grow: retry {self.retry} < renew deadline {self.renew_deadline} "
                f"< duration {self.duration}"
            )

    @property
    def patience(self) -> float:
        """Seconds that one try to get or to renew the Lease may take."""
        return max(self.retry, self.renew_deadline / 2)


@dataclass
class Leadership:
    """One term of office. `until` moves on with each renewal."""

    epoch: int
    until: float
    clock: Callable[[], float]

    @property
    def valid(self) -> bool:
        """Whether we may still decide."""
        return self.clock() < self.until

    def check(self) -> None:
        """Call right before every write.

        Raises:
            NotLeadingError: the term may be over.
        """
        if not self.valid:
            raise NotLeadingError("the Lease was not renewed in time")


class Election:
    """Stands for leadership for as long as it runs, and calls `lead` for each term."""

    def __init__(
        self,
        api: Api,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes,
        clock: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._namespace, self._name, self._identity = api, namespace, name, identity
        self._times, self._clock, self._now = times, clock, now
        self._seen: tuple[str, float] = ("", 0.0)
        self._runs_out = clock()
        self._tried = clock()
        self._held: dict[str, Any] | None = None
        self._last_epoch = 0

    @property
    def idle(self) -> float:
        """Seconds since it last reached for the Lease, or tried to renew it."""
        return self._clock() - self._tried

    async def run(self, lead: Callable[[Leadership], Awaitable[None]]) -> None:
        """Acquire, lead until lost, and again, until cancelled; then release, so that the next need not wait.

        `lead` is cancelled when the term ends. An error in it ends `run`.
        """
        while True:
            leadership = await self._acquire()
            _LOGGER.info("leading as %s in epoch %d", self._identity, leadership.epoch)
            try:
                await self._serve(leadership, lead)
            finally:
                leadership.until = -1.0
                await asyncio.shield(self._release())
            _LOGGER.warning("lost the leadership of epoch %d", leadership.epoch)

    async def _serve(self, leadership: Leadership, lead: Callable[[Leadership], Awaitable[None]]) -> None:
        leading = asyncio.ensure_future(lead(leadership))
        renewing = asyncio.ensure_future(self._keep(leadership))
        try:
            await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (leading, renewing):
                task.cancel()
            await asyncio.wait({leading, renewing})
        for task in (renewing, leading):
            if not task.cancelled():
                task.result()

    async def _acquire(self) -> Leadership:
        while True:
            started = self._tried = self._clock()
            try:
                async with asyncio.timeout(self._times.patience):
                    lease = await self._try_acquire()
            except (ApiError, TimeoutError) as error:
                why = str(error) or "no answer in time"
                _LOGGER.warning("cannot reach for the Lease %s/%s: %s", self._namespace, self._name, why)
                lease = None
            if lease is not None:
                self._held = lease
                self._last_epoch = lease["spec"]["leaseTransitions"]
                until = started + self._times.renew_deadline
                return Leadership(lease["spec"]["leaseTransitions"], until, self._clock)
            left = self._runs_out - self._clock()
            await asyncio.sleep(min(self._times.retry, left) if left > 0 else self._times.retry)

    async def _try_acquire(self) -> dict[str, Any] | None:
        try:
            lease = await self._api.get(kinds.LEASE, self._name, self._namespace)
        except NotFound:
            return await self._create()
        spec, version = lease.get("spec", {}), lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, self._clock())
        self._runs_out = self._seen[1] + spec.get("leaseDurationSeconds", self._times.duration)
        if spec.get("holderIdentity") not in (None, "", self._identity) and self._clock() < self._runs_out:
            return None
        spec = self._spec(transitions=spec.get("leaseTransitions", 0) + 1)
        with suppress(Conflict):
            return await self._update(lease, spec)
        return None

    async def _create(self) -> dict[str, Any] | None:
        spec = self._spec(transitions=self._last_epoch + 1)
        body = {"metadata": {"name": self._name, "namespace": self._namespace}, "spec": spec}
        with suppress(AlreadyExists):
            return await self._api.create(kinds.LEASE, body, self._namespace)
        return None

    async def _keep(self, leadership: Leadership) -> None:
        """Renew until the term is over."""
        while True:
            await asyncio.sleep(min(self._times.retry, max(0.0, leadership.until - self._clock())))
            if not leadership.valid:
                return
            started = self._tried = self._clock()
            try:
                async with asyncio.timeout(min(self._times.patience, max(0.0, leadership.until - started))):
                    renewed = await self._renew()
            except (ApiError, TimeoutError) as error:
                why = str(error) or "no answer in time"
                _LOGGER.warning("cannot renew the Lease %s/%s: %s", self._namespace, self._name, why)
                continue
            if not renewed:
                return
            leadership.until = started + self._times.renew_deadline

    async def _renew(self) -> bool:
        """False: another one holds it."""
        assert self._held is not None  # noqa: S101 - set by _acquire, for the type checker
        spec = {**self._held["spec"], "renewTime": self._timestamp()}
        try:
            self._held = await self._update(self._held, spec)
        except (Conflict, NotFound):
            lease = await self._api.get(kinds.LEASE, self._name, self._namespace)
            if lease.get("spec", {}).get("holderIdentity") != self._identity:
                return False
            self._held = await self._update(lease, {**lease["spec"], "renewTime": self._timestamp()})
        return True

    async def _release(self) -> None:
        """Give the Lease back. A renewal that was cut off may have been done: then it is another version by now."""
        held, self._held = self._held, None
        if held is None:
            return
        try:
            async with asyncio.timeout(self._times.renew_deadline):
                try:
                    await self._update(held, self._freed(held))
                except Conflict:
                    lease = await self._api.get(kinds.LEASE, self._name, self._namespace)
                    if lease.get("spec", {}).get("holderIdentity") == self._identity:
                        await self._update(lease, self._freed(lease))
        except (ApiError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            _LOGGER.info("the Lease could not be released, the next leader has to wait for its end: %s", why)

    def _freed(self, lease: dict[str, Any]) -> dict[str, Any]:
        return {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._timestamp()}

    async def _update(self, lease: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {key: lease["metadata"][key] for key in ("name", "namespace", "resourceVersion", "uid")}
        body = {"metadata": metadata, "spec": spec}
        return await self._api.update(kinds.LEASE, self._name, self._namespace, body)

    def _spec(self, transitions: int) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": math.ceil(self._times.duration),
            "acquireTime": self._timestamp(),
            "renewTime": self._timestamp(),
            "leaseTransitions": transitions,
        }

    def _timestamp(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
