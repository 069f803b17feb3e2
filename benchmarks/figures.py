"""Figures of a benchmark: medians, a table for people, one line for programs, and whether the targets are met."""

import platform
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from berth_dev.progress import Say


@dataclass(frozen=True)
class Target:
    """A figure that must not be above `limit`."""

    name: str
    value: float
    limit: float

    @property
    def is_met(self) -> bool:
        """Whether the figure is good enough."""
        return self.value <= self.limit


Measured = tuple[list[Target], dict[str, float]]
"""What a part of a benchmark brings: figures with targets, and others by name."""


async def measure_all(parts: Sequence[str], measure: Callable[[str], Awaitable[Measured]], say: Say) -> Measured:
    """Measure parts one after another, each with its tables on standard output as soon as it is done."""
    targets: list[Target] = []
    figures: dict[str, float] = {}
    for part in parts:
        say(f"part {part}")
        found_targets, found_figures = await measure(part)
        targets += found_targets
        figures |= found_figures
        sys.stdout.flush()
    return targets, figures


def spread(samples: Sequence[float]) -> tuple[float, float, float]:
    """Lowest, median and highest sample."""
    return min(samples), median(samples), max(samples)


def table(title: str, rows: Mapping[str, Sequence[float]], unit: str) -> None:
    """Print a row of minimum, median and maximum for each series, as Markdown."""
    print(
        f"\n### {title}\n\n{machine()}\n\n| | runs | min {unit} | median {unit} | max {unit} |\n|---|---|---|---|---|"
    )
    for name, samples in rows.items():
        low, middle, high = spread(samples)
        print(f"| {name} | {len(samples)} | {low:.3f} | {middle:.3f} | {high:.3f} |")


def machine() -> str:
    """The machine, as far as it matters."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    memory = int(next(line for line in _lines("/proc/meminfo") if line.startswith("MemTotal")).split()[1]) // 2**20
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    return f"{cores} cores of {cpu}, {memory} GiB, Linux {platform.release().split('-')[0]}, guests under TCG"


def conclude(name: str, targets: Sequence[Target], **figures: float) -> None:
    """Print `RESULT name key=value …`, last, and end with status 1 where a target is missed."""
    print()
    for target in targets:
        verdict = "met" if target.is_met else "MISSED"
        print(f"{target.name}: {target.value:.3f} (target: at most {target.limit:g}): {verdict}")
    values = {target.name: target.value for target in targets} | figures
    print(f"RESULT {name} " + " ".join(f"{key}={value:.3f}" for key, value in values.items()), flush=True)
    sys.exit(0 if all(target.is_met for target in targets) else 1)


def resident_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    line = next(line for line in _lines(f"/proc/{pid}/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()
