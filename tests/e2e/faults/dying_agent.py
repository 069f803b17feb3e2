"""The agent, with a fuse: it kills itself right before or after a step that a test names, as no signal can.

`FAULTS_FUSE` names a file; while it is there, it says when to die (see `Fuse`). It is removed just before, so that an
agent that is started again lives. All else is the agent itself.
"""

import asyncio
import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from berth_agent.__main__ import run
from berth_agent.reconcile.plan.steps import Step
from berth_agent.reconcile.rounds import Round
from berth_agent.reconcile.steps import act
from berth_agent.settings import AgentSettings
from berth_api import logs

VARIABLE = "FAULTS_FUSE"


@dataclass(frozen=True)
class Fuse:
    """When to die.

    Attributes:
        vm: Whose step, as namespace/name.
        step: The step's name.
        number: Which of the steps of this name, counted from 1 since the fuse was laid.
        after: Whether the step is done first.
    """

    vm: str
    step: str
    number: int
    after: bool

    def lay(self, path: Path) -> None:
        """Write it where an agent finds it, at once and whole."""
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(self)), encoding="utf-8")
        scratch.replace(path)


class FusedSteps:
    """Takes steps, until one burns the fuse."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fuse: Fuse | None = None
        self._seen = 0

    async def act(self, step: Step, work: Round) -> None:
        """Take a step, and die before or after it if the fuse says so."""
        burns = self._burns(step, work)
        if burns is not None and not burns.after:
            self._die()
        await act(step, work)
        if burns is not None:
            self._die()

    def _burns(self, step: Step, work: Round) -> Fuse | None:
        try:
            laid = Fuse(**json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        if laid != self._fuse:
            self._fuse, self._seen = laid, 0
        if (laid.vm, laid.step) != (f"{work.owner.namespace}/{work.owner.name}", step.name):
            return None
        self._seen += 1
        return laid if self._seen == laid.number else None

    def _die(self) -> None:
        self._path.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the agent as its environment says."""
    settings = AgentSettings()
    logs.configure(settings.log_level, settings.log_format)
    asyncio.run(run(settings, act=FusedSteps(Path(os.environ[VARIABLE])).act))


if __name__ == "__main__":
    main()
