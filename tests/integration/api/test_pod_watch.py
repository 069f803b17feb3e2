"""An agent sees the Pods of its own node, by a selector that the server applies, and counts what they request."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, cast

import kopf
import pytest
from tests.integration.api.apiserver import ApiServer
from tests.integration.api.conftest import agent_token

from berth_agent.cluster_view import ClusterView
from berth_agent.handlers.intake import Intake
from berth_agent.handlers.watches import build_registry, selectors
from berth_agent.reconcile.reconciler import Reconciler
from berth_agent.reconcile.rounds import Owner
from berth_api.allocatable import Amounts
from berth_api.client import ApiClient
from berth_api.kinds import Kind
from berth_api.objects import Resource
from berth_api.watching import watch_settings
from berth_api.workqueues import Backoff, WorkQueue

pytestmark = pytest.mark.integration

GIB = 1024**3
_SEEN = 30.0


class Nobody:
    """There are no VMs in this test."""

    def outdated(self, owner: Owner) -> None:
        """Nothing is made."""

    def changed(self, owner: Owner) -> None:
        """Nothing waits."""


class Seen(ClusterView):
    """Tells when something new has come."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def put(self, kind: Kind, body: Mapping[str, Any]) -> Resource | None:
        """Take it in, and tell."""
        self._news.set()
        return super().put(kind, body)

    def forget(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Take it out, and tell."""
        self._news.set()
        super().forget(kind, body)

    async def requests_become(self, expected: Amounts) -> None:
        """Wait until that is what the Pods request."""
        async with asyncio.timeout(_SEEN):
            while self.pod_requests() != expected:
                self._news.clear()
                await self._news.wait()


def pod(name: str, node: str, cpu: str, memory: str) -> str:
    container = {"name": "c", "image": "none", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    spec = {"nodeName": node, "containers": [container], "automountServiceAccountToken": False}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


@asynccontextmanager
async def watched(server: ApiServer) -> AsyncIterator[Seen]:
    """What the watches of the agent of node-1 bring, with no more rights than it has.

    No fixture: kopf, when it stops, cancels whatever task began after it, and so would the fixture's own end.
    """
    seen = Seen()
    vms: WorkQueue[Owner] = WorkQueue(Backoff(), Random(1))
    reports: WorkQueue[str] = WorkQueue(Backoff(), Random(1))
    intake = Intake(seen, cast("Reconciler", Nobody()), vms, reports)
    kubeconfig = server.write_kubeconfig("pods-of-1", agent_token(server, "node-1"))
    stop = asyncio.Event()
    async with await ApiClient.connect(kubeconfig, user_agent="tests") as client:
        operator = asyncio.create_task(
            kopf.operator(
                registry=build_registry(client, intake),
                settings=watch_settings(selectors("node-1")),
                clusterwide=True,
                stop_flag=stop,
            )
        )
        try:
            yield seen
        finally:
            stop.set()
            await operator


async def test_an_agent_counts_the_pods_of_its_node_and_no_others(server: ApiServer) -> None:
    server.kubectl("create", "serviceaccount", "default", check=False)
    server.kubectl("create", "-f", "-", stdin=pod("theirs", "node-2", "3", "3Gi"))
    server.kubectl("create", "-f", "-", stdin=pod("mine", "node-1", "250m", "1Gi"))
    async with watched(server) as view:
        await view.requests_become(Amounts(cpu=250, memory=GIB))
        server.kubectl("create", "-f", "-", stdin=pod("more", "node-1", "1", "1Gi"))
        await view.requests_become(Amounts(cpu=1250, memory=2 * GIB))
        ended = json.dumps({"status": {"phase": "Succeeded"}})
        server.kubectl("patch", "pod", "more", "--subresource=status", "--type=merge", "-p", ended)
        await view.requests_become(Amounts(cpu=250, memory=GIB))
        assert view.pod("default", "theirs") is None
        server.kubectl("delete", "pod", "mine", "more", "theirs", "--force", "--grace-period=0")
        await view.requests_become(Amounts())
