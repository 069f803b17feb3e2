"""The audit: complete lists, compared with what the watches have brought and with what is on the node.

At the start it comes before everything else: the ledger of admitted claims and the search for remains need a complete
list, which a watch never gives. Later it repairs what a watch missed, because kopf does not tell of objects that
vanished during a 410 Gone. A list that fails leaves everything as it is.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from berth_agent.cluster_view import MODELS
from berth_agent.handlers.intake import Intake
from berth_agent.handlers.watches import selectors
from berth_agent.reconcile.reaping import find_remains
from berth_agent.reconcile.rounds import LOOK_ERRORS, Owner, Tools
from berth_api.client import ApiError
from berth_api.workqueues import WorkQueue

log = structlog.get_logger()

AUDIT_ERRORS = (ApiError, *LOOK_ERRORS)
_FIRST_ATTEMPTS_AFTER = 2.0
"""Seconds between attempts at the start, when nothing else can be done anyway."""


class Audit:
    """Compares the node with the API server every `interval` seconds; unused images go after `image_keep` seconds."""

    def __init__(
        self,
        tools: Tools,
        intake: Intake,
        vms: WorkQueue[Owner],
        *,
        interval: float,
        image_keep: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tools = tools
        self._intake = intake
        self._vms = vms
        self._interval = interval
        self._image_keep = image_keep
        self._sleep = sleep

    async def load(self) -> None:
        """List everything, take over the admitted claims, and queue every VM and all remains. Tried until it works."""
        while True:
            try:
                await self._list_all()
                await self._tools.facts.pools.refresh(self._tools.view.pools())
                self._tools.admissions.load(self._tools.view.vms())
                await self._queue_remains()
            except AUDIT_ERRORS as error:
                log.warning("cannot start yet", reason=type(error).__name__, error=str(error))
                await self._sleep(_FIRST_ATTEMPTS_AFTER)
            else:
                return

    async def run(self) -> None:
        """Audit until cancelled."""
        while True:
            await self._sleep(self._interval)
            self._intake.node_changed()
            try:
                await self._list_all()
                await self._queue_remains()
                self._queue_all()
                await self._expire_images()
            except AUDIT_ERRORS as error:
                log.warning("audit failed, nothing was changed", reason=type(error).__name__, error=str(error))

    async def _list_all(self) -> None:
        narrowed = selectors(self._tools.node_name)
        for kind in MODELS:
            listed = await self._tools.api.list(kind, field_selector=narrowed.get(kind, ""))
            for body in listed.items:
                self._intake.take(kind, None, body)
            present = {(body["metadata"].get("namespace", ""), body["metadata"]["name"]) for body in listed.items}
            for resource in self._tools.view.missing_from(kind, present, as_of=listed.resource_version):
                self._intake.take(kind, "DELETED", resource.to_api())

    async def _queue_remains(self) -> None:
        for owner in await find_remains(self._tools):
            self._vms.add(owner)

    def _queue_all(self) -> None:
        """An event of libvirt can be lost, and the API server's list then tells nothing new."""
        for vm in self._tools.view.vms():
            self._vms.add(Owner.of(vm))

    async def _expire_images(self) -> None:
        in_use = await self._tools.disks.backing_digests()
        for digest in await self._tools.images.expire(in_use=in_use, keep_seconds=self._image_keep):
            log.info("dropped an image that no disk uses any more", digest=digest)
