"""What the agent serves over HTTP: whether it lives, whether it can work, and its figures.

Served from its first moment to its last, and so before libvirt and the API server are there: an agent that waits for
one of them lives, and says so.
"""

import time
from collections.abc import Mapping
from functools import partial

from berth_agent.cluster_view import ClusterView
from berth_agent.guestfigures import GuestFigures
from berth_agent.metrics import AgentMetrics, Levels, QueueLevels, new_registry
from berth_agent.node.heartbeats import Heartbeat
from berth_agent.reconcile.rounds import Owner
from berth_agent.settings import AgentSettings
from berth_api.checks import Checks
from berth_api.serving import Page
from berth_api.workqueues import WorkQueue


class Pages:
    """The pages, and what they tell of."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self.metrics = AgentMetrics(new_registry())
        self.guests = GuestFigures(time.monotonic)
        self.liveness = Checks({"heartbeat": heartbeat.problem})
        self.readiness = Checks({"start": self._waits})
        self._heartbeat, self._settled = heartbeat, False
        self.metrics.follow(lambda: Levels(heartbeat_age=heartbeat.age))

    def at(self, settings: AgentSettings) -> Mapping[str, Page]:
        """The pages by the URLs that the settings give them; those without one are not served."""
        pages = {
            settings.liveness_url: self.liveness.page,
            settings.readiness_url: self.readiness.page,
            settings.metrics_url: self.metrics.page(self.guests),
        }
        return {url: page for url, page in pages.items() if url is not None}

    def _waits(self) -> str:
        return "" if self._settled else "waits for libvirt, or for complete lists of the API server"

    def settled(self) -> None:
        """The agent knows all that it has to, or has said on its Hypervisor that this node's libvirt is still away."""
        self._settled = True

    def follow(self, view: ClusterView, **queues: WorkQueue[Owner] | WorkQueue[str]) -> None:
        """Tell of these from now on: the VMs as they are known, and work queues by name."""

        def levels() -> Levels:
            at_work = {name: _levels_of(queue) for name, queue in queues.items()}
            return Levels(view.vms(), at_work, self._heartbeat.age)

        self.metrics.follow(levels)
        for name, queue in queues.items():
            self.liveness.add(name, partial(_problem_of, queue))


def _levels_of(queue: WorkQueue[Owner] | WorkQueue[str]) -> QueueLevels:
    return QueueLevels(len(queue), queue.running, len(queue.stuck), queue.oldest)


def _problem_of(queue: WorkQueue[Owner] | WorkQueue[str]) -> str:
    stuck = queue.stuck
    return f"past every deadline: {', '.join(map(str, stuck[:3]))}" if stuck else ""
