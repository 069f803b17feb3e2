"""What a report is made from: what was asked, seen, answered and gone wrong in one round."""

from dataclasses import dataclass

from berth_agent.reconcile.plan.desired import Desired
from berth_agent.reconcile.plan.observed import Observed
from berth_agent.reconcile.plan.steps import Step
from berth_api.virtualmachines import VirtualMachine

PREPARING = "Preparing"
"""The reason of a condition that will come true by itself."""


@dataclass(frozen=True)
class Failure:
    """A step that did not succeed."""

    step: Step
    reason: str
    message: str
    retryable: bool


@dataclass(frozen=True)
class Answers:
    """What the agent says of the claim, and what it did in this round that cannot be seen afterwards."""

    admitted: str | None = None
    refused: str | None = None
    released: str | None = None
    stopped: str | None = None
    """The claim whose CPU and memory are free."""
    refusal: str = ""
    preparing: str = ""
    """What is under way, in words."""


@dataclass(frozen=True)
class Situation:
    """All that a status is made from."""

    vm: VirtualMachine
    desired: Desired
    observed: Observed
    answers: Answers = Answers()
    failure: Failure | None = None
    generation: int | None = None
    """Generation of the object that the round has looked at; None: `vm`'s."""
    waits: bool = False
    """The guest keeps ending, and it is too early to start it again."""

    @property
    def seen_generation(self) -> int:
        """The generation of which the status may say that it is observed: `vm` may be newer than the round."""
        return self.vm.metadata.generation if self.generation is None else self.generation
