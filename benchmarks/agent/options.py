"""What a run of the benchmark measures, and how much of it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arguments import count, parts_of

PARTS = ("a", "b", "c")
_MOST = 200
"""VMs on one node: their addresses are the last bytes of one /24."""


@dataclass(frozen=True)
class Options:
    """Sizes of a run; the defaults are those that the results are told of.

    Attributes:
        parts: Which parts to run, of `PARTS`, in their order.
        vms: VMs at once (a, c), and the larger number of idle ones (b).
        few: The smaller number of idle ones (b).
        rounds: Rounds of each side (a), alternating.
        seconds: For how long VMs are idle (b).
        workers: VMs that an agent works on at the same time, and that the bare loop does.
        profile: Where (c) writes its reports; a profiled agent's times are not results.
        interval: Seconds between two samples (c).
        settle: Seconds that guests get at most to boot before they are deleted (a, c) or watched being idle (b).
    """

    parts: tuple[str, ...] = ("a", "b")
    vms: int = 30
    few: int = 5
    rounds: int = 5
    seconds: float = 300.0
    workers: int = 16
    profile: Path = Path("agent-profile")
    interval: float = 0.005
    settle: float = 240.0


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line; ends the process with an explanation where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agent", description=__doc__)
    parser.add_argument("--part", type=parts_of(PARTS), metavar="a,b,c", help="parts to run (a,b; c is a profile)")
    parser.add_argument("--vms", type=_count, metavar="N", help="VMs at once, and the larger number of idle ones (30)")
    parser.add_argument("--few", type=_count, metavar="N", help="(b) the smaller number of idle VMs (5)")
    parser.add_argument("--rounds", type=_count, metavar="N", help="(a) rounds of each side (5)")
    parser.add_argument("--seconds", type=_positive, metavar="S", help="(b) how long VMs are idle (300)")
    parser.add_argument("--workers", type=_count, metavar="N", help="VMs worked on at the same time, by both (16)")
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="(c) where reports go (agent-profile)")
    parser.add_argument("--interval", type=_positive, metavar="S", help="(c) seconds between samples (0.005)")
    parser.add_argument("--settle", type=_positive, metavar="S", help="seconds that guests get at most to boot (240)")
    given = vars(parser.parse_args(arguments))
    chosen = {name: value for name, value in given.items() if value is not None}
    if "part" in chosen:
        chosen["parts"] = chosen.pop("part")
    options = Options(**chosen)
    if "b" in options.parts and options.few >= options.vms:
        parser.error(f"--few must be less than --vms: {options.few} is not less than {options.vms}")
    return options


def _count(text: str) -> int:
    number = count(text)
    if number > _MOST:
        raise argparse.ArgumentTypeError(f"must be 1 to {_MOST}, not {text}")
    return number


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None
    if not number > 0:
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text}")
    return number
