"""What the operator serves over HTTP: whether it lives, whether it could lead, and its figures.

All of it is there from the first moment, and at an operator that stands by as at the one that leads. An API server that
is away makes neither probe fail: nobody would work better for a restart, or for getting fewer requests.
"""

from collections.abc import Mapping
from functools import partial

from prometheus_client import CollectorRegistry

from berth_api.checks import Checks
from berth_api.serving import Page
from berth_operator.leases import Election
from berth_operator.metrics import metrics_page
from berth_operator.operation import Operation
from berth_operator.settings import Settings

_STALLED = 120.0
"""Seconds without a decision although VMs wait for one: with all slots taken by writes that meet every one of their
deadlines, one comes free far sooner."""
_IDLE = 60.0
"""Seconds without a try to get or to renew the Lease: each has a deadline of some seconds."""


class Pages:
    """The pages, and what they tell of."""

    def __init__(self, operation: Operation, election: Election) -> None:
        self.liveness = Checks(
            {
                "election": partial(_idle, election),
                "work queue": partial(_stuck, operation),
                "scheduler": partial(_stalled, operation),
            }
        )
        self.readiness = Checks({"caches": partial(_unlisted, operation)})

    def at(self, settings: Settings, registry: CollectorRegistry) -> Mapping[str, Page]:
        """The pages by the URLs that the settings give them; those without one are not served."""
        pages = {
            settings.liveness_url: self.liveness.page,
            settings.readiness_url: self.readiness.page,
            settings.metrics_url: metrics_page(registry),
        }
        return {url: page for url, page in pages.items() if url is not None}


def _idle(election: Election) -> str:
    idle = election.idle
    return f"the Lease was not reached for in {idle:.0f} s" if idle > _IDLE else ""


def _stuck(operation: Operation) -> str:
    stuck = operation.queue.stuck
    return f"past every deadline: {', '.join(map(str, stuck[:3]))}" if stuck else ""


def _stalled(operation: Operation) -> str:
    stalled = operation.scheduler.stalled
    return f"VMs wait, and none was decided about in {stalled:.0f} s" if stalled > _STALLED else ""


def _unlisted(operation: Operation) -> str:
    unlisted = sorted(each.kind.plural for each in operation.cluster.unlisted)
    return f"not listed yet: {', '.join(unlisted)}" if unlisted else ""
