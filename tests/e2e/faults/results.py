"""What a run of storms came to, as a table to read and to keep."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.e2e.faults.storms import Storm
from tests.e2e.faults.workloads import Kind, Verb


@dataclass(frozen=True)
class Outcome:
    """How one seed ended.

    Attributes:
        seed: The seed.
        storm: What was done, as far as it got.
        seconds: How long all of it took.
        problems: What was wrong in the end; empty: nothing.
    """

    seed: int
    storm: Storm
    seconds: float
    problems: list[str]


@dataclass
class Results:
    """The outcomes of all seeds of a run."""

    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def table(self) -> str:
        """Markdown: a row for each seed, and how often each kind of fault and of action was among them."""
        faults = Counter(one.fault.kind for outcome in self.outcomes for one in outcome.storm.rounds)
        actions = Counter(
            action.verb
            for outcome in self.outcomes
            for one in outcome.storm.rounds
            for action in one.before + one.during
        )
        failed = [outcome for outcome in self.outcomes if outcome.problems]
        rows = [_row(outcome) for outcome in self.outcomes]
        summary = f"{faults.total()} faults, {actions.total()} actions of users, {len(self.outcomes)} seeds, "
        summary += f"{len(failed)} failed"
        return "\n".join(
            [
                "# The last long run of the fault suite",
                "",
                f"`make test-long`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {summary}.",
                "",
                "| seed | faults | actions | duration | settled after | outcome |",
                "|---|---|---|---|---|---|",
                *rows,
                "",
                "| fault | times |",
                "|---|---|",
                *(f"| {kind} | {faults[kind]} |" for kind in Kind),
                "",
                "| action | times |",
                "|---|---|",
                *(f"| {verb} | {actions[verb]} |" for verb in Verb),
                "",
            ]
        )

    def write(self, path: Path) -> None:
        path.write_text(self.table(), encoding="utf-8")


def _actions(outcome: Outcome) -> int:
    return sum(len(one.before) + len(one.during) for one in outcome.storm.rounds)


def _row(outcome: Outcome) -> str:
    said = f"failed: {outcome.problems[0].splitlines()[0][:100]}" if outcome.problems else "ok"
    times = f"{outcome.seconds:.0f} s | {outcome.storm.settled:.1f} s"
    return f"| {outcome.seed} | {len(outcome.storm.rounds)} | {_actions(outcome)} | {times} | {said} |"
