"""What users do and what breaks, in which order: from a seed alone, so that the same seed does the same again.

Nothing here looks at a cluster. What an action or a fault finds when it comes depends on how fast things are; what is
done does not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import count
from random import Random

MAX_MACHINES = 6
MIN_MACHINES = 3
MAX_KILLS = 1
"""How often a VM's QEMU is killed: each further crash of a VM is answered later, and the test waits for it."""
NODES = ("node-1", "node-2")
STRATEGIES = ("Always", "Always", "Always", "RerunOnFailure", "RerunOnFailure", "Once")
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Verb(StrEnum):
    """What a user does to a VM."""

    CREATE = "create"
    DELETE = "delete"
    HALT = "halt"
    START = "start"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"


class Kind(StrEnum):
    """What breaks."""

    AGENT = "kill agent"
    OPERATOR = "kill operator"
    LIBVIRTD = "kill libvirtd"
    QEMU = "kill QEMU"
    API_SERVER = "kill API server"
    ETCD = "kill etcd"
    AGENT_DROP = "drop agent's link"
    AGENT_BLACKHOLE = "blackhole agent's link"
    AGENT_DELAY = "delay agent's link"
    AGENT_TRUNCATE = "truncate agent's link"
    OPERATOR_DROP = "drop operator's link"
    OPERATOR_BLACKHOLE = "blackhole operator's link"
    OPERATOR_DELAY = "delay operator's link"
    OPERATOR_TRUNCATE = "truncate operator's link"
    REBOOT = "reboot node"


_ON_NODE = (Kind.LIBVIRTD, Kind.REBOOT)
_MANY_BYTES, _FEW_BYTES = 60_000, 500


@dataclass(frozen=True)
class Action:
    """A user's wish.

    Attributes:
        verb: What is done.
        vm: To which VM.
        node: Where a new one is pinned to; empty: nowhere.
        strategy: What a new or a started one's runStrategy becomes.
        at: What a restarted one's restartedAt becomes.
    """

    verb: Verb
    vm: str
    node: str = ""
    strategy: str = ""
    at: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.verb, self.vm, self.strategy, self.node and f"on {self.node}", self.at)))


@dataclass(frozen=True)
class Fault:
    """Something that breaks, for a while.

    Attributes:
        kind: What.
        target: The node, the part, or the VM.
        hold: Seconds until it is mended; a part that was killed is down for so long.
        value: The link's delay in seconds, or the bytes of answers it still lets through.
    """

    kind: Kind
    target: str
    hold: float
    value: float = 0

    def __str__(self) -> str:
        return f"{self.kind} ({self.target}) for {self.hold} s" + (f", {self.value:g}" if self.value else "")


@dataclass(frozen=True)
class Round:
    """A fault, what users do just before it, and what they do while it lasts."""

    before: tuple[Action, ...]
    fault: Fault
    during: tuple[Action, ...]


@dataclass(frozen=True)
class _Machine:
    strategy: str
    node: str
    halted: bool = False
    paused: bool = False
    kills: int = 0


@dataclass
class _Draft:
    """The users' side, while a workload is being made up."""

    random: Random
    machines: dict[str, _Machine] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    restarts: Iterator[int] = field(default_factory=lambda: count(1))

    def action(self) -> Action:
        if len(self.machines) < MIN_MACHINES or (len(self.machines) < MAX_MACHINES and self.random.random() < 1 / 4):
            return self._create()
        name = self.random.choice(sorted(self.machines))
        machine = self.machines[name]
        verb = self.random.choice(self._verbs(machine))
        if verb is Verb.DELETE:
            del self.machines[name]
            return Action(verb, name)
        if verb is Verb.RESTART:
            at = _EPOCH + timedelta(seconds=next(self.restarts))
            return Action(verb, name, at=at.strftime("%Y-%m-%dT%H:%M:%SZ"))
        halted = {Verb.HALT: True, Verb.START: False}.get(verb, machine.halted)
        paused = {Verb.PAUSE: True, Verb.RESUME: False}.get(verb, machine.paused)
        self.machines[name] = replace(machine, halted=halted, paused=paused)
        return Action(verb, name, strategy=machine.strategy if verb is Verb.START else "")

    def _create(self) -> Action:
        name = f"vm-{next(self.numbers)}"
        machine = _Machine(self.random.choice(STRATEGIES), self.random.choice((*NODES, "")))
        self.machines[name] = machine
        return Action(Verb.CREATE, name, machine.node, machine.strategy)

    @staticmethod
    def _verbs(machine: _Machine) -> Sequence[Verb]:
        if machine.halted:
            return (Verb.START, Verb.START, Verb.DELETE)
        own = (Verb.RESUME, Verb.RESUME) if machine.paused else (Verb.PAUSE, Verb.RESTART)
        return (*own, Verb.HALT, Verb.DELETE)

    def fault(self, kind: Kind) -> Fault:
        hold = round(self.random.uniform(0.3, 3.0), 1)
        node = self.random.choice(NODES)
        if kind is Kind.QEMU:
            return self._kill(hold)
        target = node if kind in _ON_NODE else f"{node}.agent" if "agent" in kind else "operator"
        target = {Kind.API_SERVER: "kube-apiserver", Kind.ETCD: "etcd"}.get(kind, target)
        value = 0.0
        if kind in (Kind.AGENT_DELAY, Kind.OPERATOR_DELAY):
            value = round(self.random.uniform(0.1, 1.5), 1)
        if kind in (Kind.AGENT_TRUNCATE, Kind.OPERATOR_TRUNCATE):
            value = self.random.randint(_FEW_BYTES, _MANY_BYTES)
        return Fault(kind, target, hold, value)

    def _kill(self, hold: float) -> Fault:
        """Kill a guest that may run; where there is none, an agent instead."""
        names = [name for name, one in sorted(self.machines.items()) if not one.halted and one.kills < MAX_KILLS]
        if not names:
            return self.fault(Kind.AGENT)
        name = self.random.choice(names)
        self.machines[name] = replace(self.machines[name], kills=self.machines[name].kills + 1)
        return Fault(Kind.QEMU, name, hold)


def workload(seed: int, faults: int) -> list[Round]:
    """Make up a workload.

    Args:
        seed: Whatever it depends on.
        faults: How many. Each kind is as frequent as any other.
    """
    random, mixing = Random(seed), Random(f"kinds of {seed}")
    draft = _Draft(random)
    kinds: list[Kind] = []
    while len(kinds) < faults:
        kinds += mixing.sample(list(Kind), len(Kind))
    rounds = []
    for number, kind in enumerate(kinds[:faults]):
        before = tuple(draft.action() for _ in range(random.randint(0, 1) if number else MIN_MACHINES + 1))
        fault = draft.fault(kind)
        rounds.append(Round(before, fault, tuple(draft.action() for _ in range(random.randint(0, 2)))))
    return rounds
