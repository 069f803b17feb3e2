"""Tables for people, one line for programs, and whether the goals are met."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks import figures


@dataclass(frozen=True)
class Goal:
    """A figure that must not be below `limit` (`at_least`), or not above it."""

    name: str
    value: float
    limit: float
    at_least: bool

    @property
    def is_met(self) -> bool:
        """Whether the figure is good enough."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def machine() -> str:
    """The machine, as far as it matters here: there are no guests."""
    return figures.machine().rpartition(", ")[0]


def markdown(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    print(f"\n### {title}\n\n{machine()}\n")
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")


def range_of(samples: Sequence[float], *, digits: int) -> str:
    """Median, and the lowest and highest in parentheses."""
    return f"{median(samples):.{digits}f} ({min(samples):.{digits}f} to {max(samples):.{digits}f})"


def percentile(samples: Sequence[float], percent: int) -> float:
    """The value that so many of a hundred samples do not exceed, interpolated between neighbours; of two or more."""
    return quantiles(samples, n=100, method="inclusive")[percent - 1]


def conclude(goals: Sequence[Goal], found: Mapping[str, float]) -> bool:
    """Print `RESULT scheduling key=value …`, last; whether all goals are met."""
    print()
    for goal in goals:
        bound, verdict = "at least" if goal.at_least else "at most", "met" if goal.is_met else "MISSED"
        print(f"{goal.name}: {goal.value:.3f} (target: {bound} {goal.limit:g}): {verdict}")
    values = {goal.name: goal.value for goal in goals} | dict(found)
    print("RESULT scheduling " + " ".join(f"{key}={value:.3f}" for key, value in values.items()), flush=True)
    return all(goal.is_met for goal in goals)
