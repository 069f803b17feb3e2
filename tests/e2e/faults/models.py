"""What must be true of every VM once the dust has settled, from what users asked for and what was broken."""

import time
from dataclasses import dataclass, field

from tests.e2e.faults.workloads import Action, Verb

UNSURE = 5.0
"""Seconds after its start in which nobody can say whether a guest that dies counts as started."""


@dataclass
class Machine:
    """A VM as its user sees it.

    Attributes:
        strategy: Its runStrategy while it is not halted.
        node: Where it is pinned to; empty: nowhere.
        halted: Its user wants it off.
        paused: Its user wants it paused.
        starts: How many QEMU processes there may have been at most: more are a restart that nobody asked for.
        ended: For runStrategy Once: its run has ended, and it stays off. None: nobody can say.
        asked_at: When its last start or restart was asked for (time.monotonic).
    """

    strategy: str
    node: str = ""
    halted: bool = False
    paused: bool = False
    starts: int = 1
    ended: bool | None = False
    asked_at: float = field(default_factory=time.monotonic)

    @property
    def runs(self) -> bool | None:
        """Whether there must be a guest; None: either is right."""
        if self.halted:
            return False
        if self.strategy != "Once" or self.ended is False:
            return True
        return None if self.ended is None else False

    def start_anew(self) -> None:
        """Its user wants it started."""
        self.ended, self.asked_at = False, time.monotonic()
        self.starts += 1

    def died(self, *, age: float | None) -> None:
        """Its guest was ended, or all of its node was.

        Args:
            age: Seconds since its process was started; None: there was none.
        """
        self.starts += 1
        restarts_anyway = age is not None and age > time.monotonic() - self.asked_at
        if self.strategy == "Once" and not self.halted and self.ended is False and not restarts_anyway:
            self.ended = True if age is not None and age > UNSURE else None


@dataclass
class Model:
    """All VMs of a workload, by name.

    Attributes:
        machines: Those that exist.
        deleted: Those that do not exist any more.
    """

    machines: dict[str, Machine] = field(default_factory=dict)
    deleted: dict[str, Machine] = field(default_factory=dict)

    def apply(self, action: Action) -> None:
        """Take in what a user is about to do."""
        if action.verb is Verb.CREATE:
            self.machines[action.vm] = Machine(action.strategy, action.node)
            return
        machine = self.machines[action.vm]
        match action.verb:
            case Verb.DELETE:
                self.deleted[action.vm] = self.machines.pop(action.vm)
            case Verb.HALT:
                machine.halted = True
            case Verb.START:
                machine.halted = False
                machine.start_anew()
            case Verb.RESTART:
                machine.start_anew()
            case Verb.PAUSE:
                machine.paused = True
            case Verb.RESUME:
                machine.paused = False
