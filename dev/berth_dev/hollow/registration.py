"""Making the objects of many nodes quickly, and leaving nothing of them behind.

What is there already under a node's name is taken over if an earlier run made it, and refused otherwise. What is to
be removed is looked for by its label, so that what a killed run left goes, too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any, TypeVar

from nacl.encoding import Base64Encoder
from nacl.public import PrivateKey

from berth_api.client import AlreadyExists, Api, ApiError, NotFound
from berth_api.fields import AGENT
from berth_api.kinds import HYPERVISOR, LEASE, NODE, Kind
from berth_api.workqueues import Backoff
from berth_dev.errors import DevError
from berth_dev.hollow import objects
from berth_dev.hollow.options import HollowOptions

PATIENCE = 30.0
"""Seconds for which a call is tried again while the API server is away or busy."""
_T = TypeVar("_T")


class Registration:
    """The Nodes, Hypervisors and Leases of a set of hollow nodes."""

    def __init__(
        self, api: Api, options: HollowOptions, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._api, self._options, self._now = api, options, now
        self._key = PrivateKey.generate().public_key.encode(Base64Encoder).decode()

    async def register(self) -> dict[str, str]:
        """Make all objects; the resource version of each node's Lease.

        Raises:
            DevError: A name is taken, or the API server refused.
        """
        await self._refuse_strangers()
        versions: dict[str, str] = {}

        async def one(number: int) -> None:
            versions[self._options.names[number]] = await self._register(number)

        await for_each(range(self._options.count), one, at_once=self._options.workers)
        return versions

    async def remove(self) -> None:
        """Delete all objects of hollow nodes with this prefix; doing so again does nothing.

        Twice, because a call that was cancelled may be answered after the first look.

        Raises:
            DevError: The API server refused, or was away for too long.
        """
        for _ in range(2):
            await self._remove()

    async def _remove(self) -> None:
        for kind, namespace in ((LEASE, self._options.namespace), (HYPERVISOR, ""), (NODE, "")):
            listed = await patiently(partial(self._list, kind, namespace))
            ours = [body["metadata"] for body in listed if objects.is_hollow(body, self._options.prefix)]

            async def one(metadata: dict[str, Any], kind: Kind = kind, namespace: str = namespace) -> None:
                try:
                    await self._api.delete(kind, metadata["name"], namespace, uid=metadata["uid"])
                except NotFound:
                    return

            await for_each(ours, one, at_once=self._options.workers)

    async def _list(self, kind: Kind, namespace: str, label_selector: str = f"{objects.LABEL}=true") -> Sequence[Any]:
        return (await self._api.list(kind, namespace, label_selector=label_selector)).items

    async def _refuse_strangers(self) -> None:
        names = set(self._options.names)
        for kind, namespace in ((NODE, ""), (HYPERVISOR, ""), (LEASE, self._options.namespace)):
            for body in await patiently(partial(self._list, kind, namespace, "")):
                name = body["metadata"]["name"]
                if name in names and not objects.is_hollow(body, self._options.prefix):
                    raise DevError(f"there is a {kind.kind} {name} that is no hollow node's: choose another prefix")

    async def _register(self, number: int) -> str:
        """Make the objects of one node; the resource version of its Lease."""
        options, name, now = self._options, self._options.names[number], self._now()
        node = objects.node(options, number, now)
        made = await self._create(NODE, node)
        if (made["spec"].get("taints") or []) != node["spec"]["taints"]:  # admission has added one: no kubelet is ready
            taints = {"op": "replace", "path": "/spec/taints", "value": node["spec"]["taints"]}
            await self._api.patch_json(NODE, name, "", [taints])
        await self._create(HYPERVISOR, objects.hypervisor(name))
        status = objects.hypervisor_status(options.shape, self._key)
        await self._api.apply(HYPERVISOR, name, "", status, field_manager=AGENT, subresource="status")
        lease = await self._create(LEASE, objects.lease(options, name, now), options.namespace)
        return str(lease["metadata"]["resourceVersion"])

    async def _create(self, kind: Kind, body: dict[str, Any], namespace: str = "") -> dict[str, Any]:
        """Make an object; where an earlier run left one, put it into the state in which it would have been made."""
        try:
            return await self._api.create(kind, body, namespace)
        except AlreadyExists:
            rest = {part: content for part, content in body.items() if part != "status"}
            name = body["metadata"]["name"]
            return await self._api.apply(kind, name, namespace, rest, field_manager=objects.MANAGER)


async def for_each(items: Iterable[_T], work: Callable[[_T], Awaitable[None]], *, at_once: int) -> None:
    """Work on all items, a few at once; what may be tried again is.

    Raises:
        DevError: An item failed for good; the others are not worked on any more.
    """
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await patiently(partial(work, item))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except* DevError as failed:
        raise failed.exceptions[0] from None


async def patiently(call: Callable[[], Awaitable[_T]]) -> _T:
    """The answer of a call, which is made again while the API server cannot give one.

    Raises:
        DevError: It refuses, or still cannot after a while.
    """
    loop, random, failures = asyncio.get_running_loop(), Random(), 0  # noqa: S311 - jitter, not secrecy
    end = loop.time() + PATIENCE
    while True:
        try:
            return await call()
        except ApiError as error:
            failures += 1
            pause = Backoff(0.1, 5.0).pause(failures, random)
            if not error.retryable or loop.time() + pause > end:
                raise DevError(f"hollow nodes: the API server: {error}") from error
            await asyncio.sleep(pause)
