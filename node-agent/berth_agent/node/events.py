"""The agent's Events: what `kubectl describe vm` shows of a VM's life on its node.

A policy of the API server takes them only in the node's own name (charts/berth/files/policies/agent-events.yaml).
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from berth_agent.reconcile.plan.tellings import Telling
from berth_api.client import Api
from berth_api.events import Allowance, EventRecorder
from berth_api.fields import AGENT
from berth_api.virtualmachines import VirtualMachine

_PAUSE = 0.1
"""Seconds between two Events: thirty VMs that start at once need the API server for other things."""
_BACKLOG = 1000


class Events(EventRecorder):
    """Sends Events in the background for as long as `run` does: ten a second, and 25 about one VM, then ever fewer."""

    def __init__(
        self,
        api: Api,
        *,
        node_name: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        backlog: int = _BACKLOG,
    ) -> None:
        super().__init__(
            api,
            controller=AGENT,
            instance=node_name,
            action="Reconciling",
            pause=lambda: _PAUSE,
            allowance=Allowance(),
            now=now,
            clock=clock,
            backlog=backlog,
        )

    def tell_all(self, vm: VirtualMachine, tellings: tuple[Telling, ...]) -> None:
        """Say what a round had to say about a VM."""
        for each in tellings:
            self.tell(vm, each.type, each.reason, each.note)
