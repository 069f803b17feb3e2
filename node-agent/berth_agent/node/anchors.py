"""The node's anchor as the agent sees it: waiting until what the kubelet has allocated to VMs covers a claim.

The kubelet gives out the node's CPU and memory, to one Pod after another. The anchor is the VMs' Pod, so a claim is
admitted only within what the kubelet has allocated to the anchor: of a Pod and a VM that come at the same moment, the
kubelet takes one and turns the other down.

What a watch shows may be old: the anchor may have been made smaller just before a claim was bound. So the watch only
says when it is worth asking; what counts is what the API server answers after the claim is known. From then on the
anchor does not become too small for it, because the operator counts every claim that is bound before it makes an anchor
smaller.

A claim that is not covered waits, first for the operator and then for the kubelet. When the kubelet has said no for a
few seconds, the younger half of those that wait is refused: without them the others may fit.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from berth_agent.cluster_view import ClusterView
from berth_agent.node.allocations import Allocation, allocation_of
from berth_agent.node.pods import Pod
from berth_agent.questions import Question
from berth_agent.reconcile.plan.admission import Refusal
from berth_api.anchors import Size, anchor_name
from berth_api.client import Api, NotFound
from berth_api.kinds import POD

INSUFFICIENT = "InsufficientResources"
_MOMENT = 0.001
"""Seconds: what is due so soon is due."""


@dataclass
class _Waiter:
    """A claim that waits. Times of the event loop."""

    begun: float
    since: float
    """When its patience began, for the last time."""
    limit: float
    """Seconds for which nobody may say anything."""


class Anchor:
    """Holds claims until the kubelet has allocated what they take.

    Args:
        api: The API server.
        view: What the watches have brought.
        namespace: Berth's own.
        node_name: Of the node.
        patience: Seconds for which the kubelet may say no until a claim is refused.
        limit: Seconds for which nobody may say anything until a claim is refused. Nobody waits longer than twice that.
    """

    def __init__(
        self, api: Api, view: ClusterView, *, namespace: str, node_name: str, patience: float, limit: float
    ) -> None:
        self._api, self._view, self._namespace = api, view, namespace
        self._name = anchor_name(node_name)
        self._patience, self._limit = patience, limit
        self._question = Question(self._read, "anchor")
        self._waiters: dict[str, _Waiter] = {}
        self._denied_since: float | None = None
        self._change = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Claims that wait."""
        return len(self._waiters)

    def changed(self) -> None:
        """To be called when a watch has told of an anchor."""
        self._change.set()
        self._change = asyncio.Event()

    async def admit(
        self,
        uid: str,
        needed: Callable[[], Size],
        take: Callable[[], Refusal | None],
        *,
        limit: float | None = None,
    ) -> Refusal | None:
        """Take a claim as soon as it is covered, or say why not.

        Args:
            uid: Of the VM.
            needed: What the anchor must have for the claim beside all admitted ones, at that moment.
            take: Admits the claim. Called in the same moment in which it is covered.
            limit: Seconds for which nobody may say anything, if other than everybody's.

        Raises:
            ApiError: the API server gave no answer.
        """
        now = self._time()
        waiter = self._waiters.setdefault(uid, _Waiter(now, now, self._limit if limit is None else limit))
        try:
            while True:
                change = self._change  # before anything is looked at: what comes meanwhile must wake this one
                if self._seen().size.covers(needed()):
                    allocation = await self._question.ask()
                    if allocation.size.covers(needed()):
                        return take()
                due = self._due(waiter)
                if due - self._time() < _MOMENT:
                    if self._is_older_half(uid) and self._time() < waiter.begun + 2 * waiter.limit:
                        waiter.since = self._time()
                        continue
                    return self._refusal(needed(), waiter.limit)
                await _until(change, due)
        finally:
            self._waiters.pop(uid, None)

    def _due(self, waiter: _Waiter) -> float:
        """When the claim has waited for long enough."""
        if not self._seen().denied:
            self._denied_since = None
            return waiter.since + waiter.limit
        if self._denied_since is None:
            self._denied_since = self._time()
        return max(waiter.since, self._denied_since) + self._patience

    def _is_older_half(self, uid: str) -> bool:
        return list(self._waiters).index(uid) < len(self._waiters) // 2

    def _refusal(self, needed: Size, limit: float) -> Refusal:
        seen = self._seen()
        lacking = f"VMs would have {needed} of the node, the kubelet has allocated them {seen.size}"
        if seen.denied:
            return Refusal(INSUFFICIENT, f"the node's Pods hold what is lacking: {lacking} ({seen.denied})")
        return Refusal(INSUFFICIENT, f"nobody has made room for it in {limit:g} s: {lacking}")

    def _seen(self) -> Allocation:
        """What is known without asking."""
        return allocation_of(self._view.pod(self._namespace, self._name))

    async def _read(self) -> Allocation:
        try:
            found = await self._api.get(POD, self._name, self._namespace)
        except NotFound:
            return Allocation()
        self._view.put(POD, found)
        return allocation_of(Pod.from_api(found))

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()


async def _until(change: asyncio.Event, due: float) -> None:
    try:
        async with asyncio.timeout_at(due):
            await change.wait()
    except TimeoutError:
        return
