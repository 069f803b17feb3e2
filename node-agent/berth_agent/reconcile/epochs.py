"""The operator's epoch, asked of the API server itself at each admission.

Thirty VMs that are bound at once ask together: one answer serves all who asked before the question was sent. Who asks
while one is under way joins the next, so that no answer is older than the claim that it is held against.
"""

import asyncio

from berth_api.client import Api, NotFound
from berth_api.fields import OPERATOR_LEASE
from berth_api.kinds import LEASE


class Epochs:
    """`leaseTransitions` of the operator's Lease."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self._under_way: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None

    async def current(self) -> int:
        """The epoch as it was after this was called; 0 where there was no leader yet.

        Raises:
            ApiError: the API server gave no answer.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._under_way), name="epoch")
            self._next.add_done_callback(_take_error)
        return await asyncio.shield(self._next)

    async def _after(self, before: "asyncio.Task[int] | None") -> int:
        if before is not None:
            await asyncio.wait([before])
        self._under_way, self._next = self._next, None
        try:
            lease = await self._api.get(LEASE, OPERATOR_LEASE, self._namespace)
        except NotFound:
            return 0
        return int(lease.get("spec", {}).get("leaseTransitions") or 0)


def _take_error(task: "asyncio.Task[int]") -> None:
    """Whoever asked has the error; where all gave up meanwhile, nobody needs it."""
    if not task.cancelled():
        task.exception()
