"""Who else takes part in rounds: somebody who looks at running guests between them, and somebody who tells of them."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol

from berth_agent.reconcile.plan.observed import Observed
from berth_agent.reconcile.plan.situations import Failure
from berth_agent.reconcile.plan.steps import Step
from berth_api.virtualmachines import VirtualMachine


class Lookout(Protocol):
    """Asks running guests how they are, all the time, and remembers what they said."""

    def watch(self, vm: VirtualMachine, observed: Observed) -> None:
        """The guest is active: ask it from now on, if that is not done already."""

    def forget(self, uid: str) -> None:
        """The guest is off or gone."""

    def add(self, uid: str, observed: Observed) -> Observed:
        """What was observed, with what the guest has said of itself."""


class NoLookout:
    """Asks nobody."""

    def watch(self, vm: VirtualMachine, observed: Observed) -> None:
        """Do nothing."""

    def forget(self, uid: str) -> None:
        """Do nothing."""

    def add(self, uid: str, observed: Observed) -> Observed:
        """Nothing is known."""
        del uid
        return observed


class Chronicle(Protocol):
    """Is told what rounds do. Returns at once and never fails."""

    def saw(self, vm: VirtualMachine) -> None:
        """A round begins for this VM."""

    def round(self, seconds: float, outcome: str) -> None:
        """A round of one VM is over."""

    def forget(self, uid: str) -> None:
        """The VM is not this node's any more."""

    def step(self, step: Step, seconds: float, failure: Failure | None) -> None:
        """A step was taken, or has failed."""

    def reported(self, before: VirtualMachine, status: Mapping[str, Any], failure: Failure | None) -> None:
        """A status was written over what the object said before."""


class NoChronicle:
    """Tells nobody."""

    def saw(self, vm: VirtualMachine) -> None:
        """Do nothing."""

    def round(self, seconds: float, outcome: str) -> None:
        """Do nothing."""

    def forget(self, uid: str) -> None:
        """Do nothing."""

    def step(self, step: Step, seconds: float, failure: Failure | None) -> None:
        """Do nothing."""

    def reported(self, before: VirtualMachine, status: Mapping[str, Any], failure: Failure | None) -> None:
        """Do nothing."""


class Aside(Protocol):
    """Lends this work's place in its queue to others: `WorkQueue.aside`."""

    def __call__(self, *, within: float, after: float = 0.0) -> AbstractAsyncContextManager[None]:
        """Enter it around what may wait long."""


def stay(*, within: float, after: float = 0.0) -> AbstractAsyncContextManager[None]:
    """Keep the place."""
    del within, after
    return nullcontext()
