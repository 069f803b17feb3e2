"""Keeps one anchor Pod per node as large as the node's claims, so that kube-scheduler and kubelets count VMs, too.

What the anchor must never do is to be made smaller for a sum of claims that is out of date: an agent that has just seen
what was allocated would admit a claim which nobody covers. So:

- The sum is taken and the resize is sent without anything in between, and no binding to that node is written until the
  API server has answered it. What was decided before is in the sum, what is decided later waits (`before_binding`).
- Every resize names the version of the Pod that it is about. One whose outcome nobody knows, and one that a former
  leader may have sent, is *outdated* before the next binding to that node: the Pod is given another version.

Before that it is seen to that the anchor may not be evicted (`budgets`).

Everything else may fail at any time: an anchor that is too large only keeps Pods away, and one that is too small, or is
not there, only keeps the agent from admitting claims. What happens is found out by looking: watches and audits tell of
Pods, the ledger of claims, each by the node's name.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Protocol

from berth_api import logs
from berth_api.anchors import CONTAINER, LABEL, LEAST, Size, anchor_name
from berth_api.backoffs import Backoff
from berth_api.client import AlreadyExists, Api, ApiError, Conflict, Forbidden, Invalid, NotFound
from berth_api.fields import OPERATOR
from berth_api.kinds import POD
from berth_operator.cluster import Cluster
from berth_operator.controllers.anchordenials import Denials
from berth_operator.controllers.anchorneeds import AnchorNeeds
from berth_operator.controllers.anchorplans import (
    Anchor,
    Create,
    Delete,
    Pace,
    Resize,
    Rest,
    Times,
    Wanted,
    decide,
    is_just,
    limits_for,
    nudged,
    state_of,
)
from berth_operator.controllers.anchorpods import anchor_pod, anchor_spec, template_of
from berth_operator.controllers.budgets import Budgets
from berth_operator.leases import Leadership, NotLeadingError
from berth_operator.scheduling.ledger import Ledger

_LOGGER = logging.getLogger(__name__)
_HOLD = 5.0
"""Seconds for which a binding waits for a resize; then it is decided anew, and others get its place."""
_LONG_AGO = -1e9


class AnchorCounts(Protocol):
    """Is told what happens to anchors."""

    def anchor_written(self, action: str) -> None:
        """One was created, resized or deleted, or its budget made or lifted."""

    def anchor_refused(self) -> None:
        """The API server did not take one, or its budget, as it was to be."""


class Anchors:
    """Makes, resizes and remakes anchors, a node at a time."""

    def __init__(
        self,
        api: Api,
        cluster: Cluster,
        ledger: Ledger,
        *,
        namespace: str,
        image: str,
        pull_secrets: Sequence[str] = (),
        clock: Callable[[], float],
        random: Random,
        counts: AnchorCounts,
        times: Times | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Get ready.

        Args:
            api: The API server.
            cluster: What is known of it, anchors included.
            ledger: What is claimed where.
            namespace: Berth's own: where the Pods are.
            image: Of the one container, which only waits.
            pull_secrets: Names of the Secrets that it is pulled with.
            clock: Monotonic seconds.
            random: Spreads retries.
            counts: Is told what is written.
            times: How long to wait for what.
            backoff: Pauses before a Pod that the kubelet did not keep is made again.
        """
        self._api, self._cluster = api, cluster
        self._namespace, self._spec = namespace, anchor_spec(image, pull_secrets)
        self._needs = AnchorNeeds(cluster, ledger, template_of(self._spec))
        self._budgets = Budgets(api, cluster.budgets, namespace=namespace, counts=counts)
        self._clock, self._random, self._counts = clock, random, counts
        self._times, self._backoff = times or Times(), backoff or Backoff(1.0, 60.0)
        self.reset()

    def reset(self) -> None:
        """A new term: whatever a former leader sent may still be on its way."""
        self._sure: dict[str, str] = {}
        """UIDs of anchors of which no resize is on its way that could make them smaller, by node."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._resized: dict[str, float] = {}
        self._changed: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._refused: set[str] = set()
        """Nodes whose anchor the API server does not take as it is to be."""
        self._resizable = True
        self._denials = Denials(self._clock, self._random)
        self._began = self._clock()
        """Nobody knows whether claims were at rest before."""

    def claims_changed(self, node: str) -> None:
        """To be called whenever what is claimed on a node changes."""
        self._changed[node] = self._clock()

    async def reconcile(self, node: str, leadership: Leadership) -> float | None:
        """Do the next thing about a node's anchor.

        Returns:
            Seconds after which to look again; None: when something changes.

        Raises:
            ApiError: it could not be done.
            NotLeadingError: the leadership ended.
        """
        if self._cluster.hypervisors.get(node) is None:
            self._forget(node)
            return None
        async with self._lock(node):
            try:
                again = await self._do_next(node, leadership)
            except (Forbidden, Invalid) as error:
                self._note_refusal(node, error)
                raise
            self._refused.discard(node)
            return again

    async def _do_next(self, node: str, leadership: Leadership) -> float | None:
        """Whatever becomes of the budget, the anchor is made as large as it must be."""
        failed: ApiError | None = None
        try:
            await self._guard(node, leadership)
        except ApiError as error:
            failed = error
        again = await self._act(node, leadership)
        if failed is not None:
            raise failed
        return again

    def _note_refusal(self, node: str, error: ApiError) -> None:
        self._refused.add(node)
        self._counts.anchor_refused()
        _LOGGER.error(
            "node %s: the API server does not take its anchor Pod, or that one's budget, as it is to be: %s (is there a"
            " LimitRange, a ResourceQuota or a policy of others in namespace %s?)",
            node,
            error,
            self._namespace,
        )

    async def remove_where_off(self, leadership: Leadership) -> None:
        """Delete, where nodes are to have no anchors, those of former settings: nobody would ever resize them."""
        failures = 0
        while not self._cluster.anchored:
            try:
                return await self._remove_all(leadership)
            except NotLeadingError:
                return None
            except ApiError as error:
                failures += 1
                _LOGGER.warning("cannot delete anchors, which are turned off: %s", error)
                await asyncio.sleep(self._backoff.pause(failures, self._random))
        return None

    async def _remove_all(self, leadership: Leadership) -> None:
        await self._budgets.lift_all(leadership)
        for body in (await self._api.list(POD, self._namespace, label_selector=f"{LABEL}=true")).items:
            metadata = body["metadata"]
            leadership.check()
            with suppress(NotFound, Conflict):
                await self._api.delete(POD, metadata["name"], self._namespace, uid=metadata["uid"])
                self._counts.anchor_written("delete")
                with logs.tagged(node=Anchor.from_api(body).node):
                    _LOGGER.info("deleted %s: anchors are turned off", metadata["name"])

    async def before_binding(self, node: str, leadership: Leadership) -> None:
        """Wait until nothing is on its way that could make the node's anchor smaller than its claims are now.

        To be awaited between counting a claim in the ledger and writing it.

        Raises:
            Conflict: that cannot be said now; decide anew.
            NotLeadingError: the leadership ended.
        """
        await self._protect(node, leadership)
        if self._is_sure(node) or not self._resizable:
            return
        try:
            async with asyncio.timeout(_HOLD), self._lock(node):
                if not self._is_sure(node):
                    await self._outdate(node, leadership)
        except TimeoutError as error:
            raise Conflict(409, "Conflict", f"the anchor of node {node} is being resized") from error
        except NotFound as error:
            raise Conflict(409, "Conflict", f"the anchor of node {node} has just gone") from error

    async def _protect(self, node: str, leadership: Leadership) -> None:
        """Have the anchor of a node that VMs are about to hold be evicted no longer; `reconcile` goes on trying."""
        hypervisor = self._cluster.hypervisors.get(node)
        if self._budgets.covers(node) or hypervisor is None:
            return
        try:
            async with asyncio.timeout(_HOLD):
                await self._budgets.cover(node, hypervisor.metadata.uid, leadership)
        except (ApiError, TimeoutError) as error:
            _LOGGER.warning("node %s: it can be drained while a VM is bound to it: %s", node, error or "no answer")

    async def _guard(self, node: str, leadership: Leadership) -> None:
        """Have the anchor be evicted only where no VM holds the node, and the anchor nothing for one."""
        anchor, hypervisor = self._anchor(node), self._cluster.hypervisors.get(node)
        if hypervisor is None:
            return
        if self._needs.is_held(node):
            await self._budgets.cover(node, hypervisor.metadata.uid, leadership)
        elif anchor is None or is_just(anchor.requests, LEAST):
            await self._budgets.lift(node, leadership)

    def _is_sure(self, node: str) -> bool:
        anchor = self._anchor(node)
        return anchor is None or self._sure.get(node) == anchor.uid

    def levels(self) -> dict[str, int]:
        """How many nodes have an anchor in which state; a Hypervisor that is to have none counts nowhere."""
        if not self._cluster.anchored:
            return {}
        anchors = {each.node: each for each in self._cluster.anchors}
        states = (
            "refused" if (name := each.metadata.name) in self._refused else state_of(anchors.get(name))
            for each in self._cluster.hypervisors
            if each.metadata.name in anchors or self._needs.counts(each)
        )
        return dict(Counter(states))

    async def _act(self, node: str, leadership: Leadership) -> float | None:
        now, anchor = self._clock(), self._anchor(node)
        wanted = self._needs.of(node, self._failures if self._resizable else {})
        pace = Pace(now - self._resized.get(node, _LONG_AGO), now - self._changed.get(node, self._began))
        denied = self._denials.rest(node, wanted) if wanted is not None else None
        action = decide(anchor, wanted, pace, self._times, resizable=self._resizable, denied=denied)
        if anchor is not None and wanted is not None and anchor.stands_for(wanted.claimed):
            self._failures.pop(node, None)
            self._denials.settle(node, anchor)
        match action:
            case Rest(seconds):
                return seconds
            case Create(size) if wanted is not None:
                return await self._create(node, size, wanted, leadership)
            case Resize(size) if anchor is not None:
                await self._resize(node, anchor, size, leadership)
                return self._times.answer
            case Delete(why, failed) if anchor is not None and wanted is not None:
                less = failed and not self._resizable and self._denials.note(node, anchor, wanted.first)
                await self._delete(node, anchor, why, leadership, failed=failed and not less)
        return None

    def _anchor(self, node: str) -> Anchor | None:
        return self._cluster.anchors.get(anchor_name(node), self._namespace)

    async def _create(self, node: str, size: Size, wanted: Wanted, leadership: Leadership) -> float | None:
        rest = self._not_before.get(node, _LONG_AGO) - self._clock()
        if rest > 0:
            return rest
        leadership.check()
        denied = "" if size.covers(wanted.claimed) or self._resizable else self._denials.why(node)
        body = anchor_pod(
            node, owner=wanted.owner, namespace=self._namespace, spec=self._spec, size=size, denied=denied
        )
        try:
            made = await self._api.create(POD, body, self._namespace)
        except AlreadyExists:
            made = await self._api.get(POD, anchor_name(node), self._namespace)
        except (Forbidden, Invalid):
            self._failures[node] = self._failures.get(node, 0) + 1  # the next one is smaller: it may grow later
            raise
        else:
            self._sure[node] = made["metadata"]["uid"]  # nobody else knows it yet
            self._resized.pop(node, None)
            self._counts.anchor_written("create")
            _LOGGER.info("node %s: made its anchor, %s", node, size)
        self._cluster.anchors.upsert(made)
        return 0.0

    async def _resize(self, node: str, anchor: Anchor, size: Size, leadership: Leadership) -> None:
        """Resize. Called right after the sum was taken: nothing may be awaited in between."""
        shrinks = not size.covers(anchor.requests)
        was_sure = self._sure.get(node) == anchor.uid
        if shrinks:
            self._sure.pop(node, None)
        leadership.check()
        self._resized[node] = self._clock()
        limits = {
            name: amount for name, amount in limits_for(anchor.limits, size).to_requests().items() if amount != "0"
        }
        resources = {"requests": size.to_requests()} | ({"limits": limits} if limits else {})
        body = {
            "metadata": {"uid": anchor.uid},
            "spec": {"containers": [{"name": CONTAINER, "resources": resources}]},
        }
        try:
            written = await self._api.apply(
                POD,
                anchor.name,
                self._namespace,
                body,
                field_manager=OPERATOR,
                subresource="resize",
                resource_version=anchor.version,
            )
        except NotFound:
            await self._find_out(node, anchor)
            return
        except Conflict:
            if was_sure:
                self._sure[node] = anchor.uid  # it was not written, and never will be
            await self._look(node)
            raise
        self._sure[node] = anchor.uid
        self._counts.anchor_written("resize")
        _LOGGER.debug("node %s: resized its anchor from %s to %s", node, anchor.requests, size)
        self._cluster.anchors.upsert(written)

    async def _find_out(self, node: str, anchor: Anchor) -> None:
        """404: the Pod is gone, or this server resizes none."""
        await self._look(node)
        found = self._anchor(node)
        if found is not None and found.uid == anchor.uid:
            _LOGGER.warning("the API server cannot resize Pods (Kubernetes 1.33 and later can): anchors are made anew")
            self._resizable = False
            self._sure[node] = anchor.uid

    async def _look(self, node: str) -> None:
        """See the Pod as it is now, before the watch tells."""
        try:
            self._cluster.anchors.upsert(await self._api.get(POD, anchor_name(node), self._namespace))
        except NotFound:
            known = self._anchor(node)
            if known is not None:
                metadata = {"name": known.name, "namespace": self._namespace, "uid": known.uid}
                self._cluster.anchors.remove({"metadata": metadata})

    async def _delete(self, node: str, anchor: Anchor, why: str, leadership: Leadership, *, failed: bool) -> None:
        leadership.check()
        if failed:
            failures = self._failures[node] = self._failures.get(node, 0) + 1
            pause = self._backoff.pause(failures - 1, self._random) if failures > 1 else 0.0  # the next one is smaller
            self._not_before[node] = self._clock() + pause
            _LOGGER.warning("node %s: its anchor did not stay (%s), making another", node, why)
        with suppress(NotFound, Conflict):
            await self._api.delete(
                POD, anchor.name, self._namespace, uid=anchor.uid, grace=None if self._resizable else 0
            )
            self._counts.anchor_written("delete")
        await self._look(node)

    async def _outdate(self, node: str, leadership: Leadership) -> None:
        """Give the anchor another version, so that whatever was sent about the present one comes too late."""
        await self._look(node)
        anchor, wanted = self._anchor(node), self._needs.of(node, self._failures)
        if anchor is None or wanted is None or not self._resizable:
            return
        claimed = wanted.claimed if anchor.acknowledged else anchor.requests
        await self._resize(node, anchor, nudged(anchor.requests, claimed), leadership)

    def _lock(self, node: str) -> asyncio.Lock:
        return self._locks.setdefault(node, asyncio.Lock())

    def _forget(self, node: str) -> None:
        for known in (self._sure, self._resized, self._changed, self._failures, self._not_before):
            known.pop(node, None)
        self._refused.discard(node)
        self._denials.forget(node)
