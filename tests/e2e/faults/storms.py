"""A storm: a workload with its faults, done to a cluster, and then the look at what is left."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.conftest import VM, World
from tests.e2e.faults.agreements import Agreement
from tests.e2e.faults.breakages import Breakages
from tests.e2e.faults.models import Model
from tests.e2e.faults.timelines import Timeline
from tests.e2e.faults.watchers import GuestWatcher
from tests.e2e.faults.workloads import Action, Round, Verb

from berth_dev.errors import CommandError
from berth_dev.processes import poll_until

SETTLE = 120.0
"""Seconds for all to become as it must be: the longest is a crashed guest's backoff, and then a report's."""
_ACTION_SECONDS = 180.0
"""Seconds for the API server to take what a user wants: on a busy machine it comes back late."""
_CALM = 3.0
"""Seconds that all must stay as it is."""
_GRACE = 3


@dataclass
class Storm:
    """One workload, on one namespace of a cluster.

    Attributes:
        world: The namespace.
        rounds: The workload.
        timeline: All that happened.
        model: What must be true.
        settled: Seconds from the last fault until all was as it must be.
    """

    world: World
    rounds: list[Round]
    timeline: Timeline = field(default_factory=Timeline)
    model: Model = field(default_factory=Model)
    settled: float = 0.0

    def rage(self) -> list[str]:
        """Do everything; returns what is wrong in the end."""
        with GuestWatcher(self.world.cluster, self.timeline) as watcher, ThreadPoolExecutor(1) as breaking:
            breakages = Breakages(self.world.cluster, self.world.namespace, self.model, watcher, self.timeline)
            for one in self.rounds:
                for action in one.before:
                    self._do(action, breakages)
                struck = breaking.submit(breakages.strike, one.fault)
                for action in one.during:
                    self._do(action, breakages)
                struck.result()
            agreement = Agreement(self.world, self.model, watcher)
            problems = self._settle(agreement, breakages) or agreement.silences() or self._stay_calm(agreement)
            return [*problems, *agreement.restarts(), *watcher.overlaps]

    def _settle(self, agreement: Agreement, breakages: Breakages) -> list[str]:
        begun = time.monotonic()
        self.timeline.add("the dust settles")
        while problems := agreement.disagreements():
            breakages.start_what_ended()
            if not poll_until(begun + SETTLE, interval=1.0):
                self.timeline.add("!!! and has not settled")
                return problems
        self.settled = time.monotonic() - begun
        self.timeline.add("spec and world agree")
        return []

    def _stay_calm(self, agreement: Agreement) -> list[str]:
        time.sleep(_CALM)
        return agreement.disagreements()

    def _do(self, action: Action, breakages: Breakages) -> None:
        """Do what a user wants, as often as it takes until the API server has taken it."""
        deadline = time.monotonic() + _ACTION_SECONDS
        if action.verb is Verb.START and action.strategy != "Always":
            self._wait_until_off(action.vm, breakages)
        self.model.apply(action)
        self.timeline.add(f"USER {action}")
        while True:
            try:
                self._tell(action)
            except CommandError as error:
                if not poll_until(deadline, interval=0.3):
                    raise
                self.timeline.add(f"    the API server does not take it: {str(error)[-120:]}")
            else:
                return

    def _wait_until_off(self, vm: str, breakages: Breakages) -> None:
        """A guest that ends before its user's Halted was seen has ended by itself, and its strategy may leave it so."""
        deadline = time.monotonic() + _ACTION_SECONDS
        while True:
            try:
                phase = self.world.kubectl("get", f"{VM}/{vm}", "-o", "jsonpath={.status.phase}")
            except CommandError:
                phase = ""
            if phase in ("Stopped", "Failed"):
                return
            breakages.start_what_ended()
            if not poll_until(deadline, interval=0.3):
                self.timeline.add(f"!!! {vm} is halted, and {phase or 'unknown'} for {_ACTION_SECONDS:g} s")
                return

    def _tell(self, action: Action) -> None:
        name = f"{VM}/{action.vm}"
        match action.verb:
            case Verb.CREATE:
                spec: dict[str, Any] = {
                    "runStrategy": action.strategy,
                    "terminationGracePeriodSeconds": _GRACE,
                    "nodeName": action.node or None,
                }
                self.world.apply(self.world.vm(action.vm, **spec))
            case Verb.DELETE:
                self.world.kubectl("delete", name, "--wait=false", "--ignore-not-found")
            case _:
                patch = (
                    _PATCHES.get(action.verb)
                    or {
                        Verb.START: f'{{"spec":{{"runStrategy":"{action.strategy}"}}}}',
                        Verb.RESTART: f'{{"spec":{{"restartedAt":"{action.at}"}}}}',
                    }[action.verb]
                )
                self.world.kubectl("patch", name, "--type=merge", "-p", patch)


_PATCHES: Mapping[Verb, str] = {
    Verb.HALT: '{"spec":{"runStrategy":"Halted"}}',
    Verb.PAUSE: '{"spec":{"paused":true}}',
    Verb.RESUME: '{"spec":{"paused":false}}',
}
