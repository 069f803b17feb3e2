"""What rounds do, told to Prometheus and to the users of VMs."""

from collections.abc import Mapping
from typing import Any

from berth_agent.metrics import AgentMetrics
from berth_agent.node.events import Events
from berth_agent.reconcile.plan.situations import Failure
from berth_agent.reconcile.plan.steps import Step
from berth_agent.reconcile.plan.tellings import events_of
from berth_api.virtualmachines import VirtualMachine


class AgentChronicle:
    """Implements `berth_agent.reconcile.ports.Chronicle`."""

    def __init__(self, metrics: AgentMetrics, events: Events) -> None:
        self._metrics, self._events = metrics, events

    def round(self, seconds: float, outcome: str) -> None:
        """A round of one VM is over."""
        self._metrics.round_done(seconds, outcome)

    def saw(self, vm: VirtualMachine) -> None:
        """A round begins."""
        self._metrics.saw(vm)

    def forget(self, uid: str) -> None:
        """The VM is not this node's any more."""
        self._metrics.forget(uid)

    def step(self, step: Step, seconds: float, failure: Failure | None) -> None:
        """A step was taken, or has failed."""
        if failure is None:
            self._metrics.step_done(step.name, seconds)
        else:
            self._metrics.step_failed(step.name, failure.reason, seconds)

    def reported(self, before: VirtualMachine, status: Mapping[str, Any], failure: Failure | None) -> None:
        """A status was written over what the object said before."""
        self._metrics.wrote(before, status)
        self._events.tell_all(before, events_of(before, status, failure))
