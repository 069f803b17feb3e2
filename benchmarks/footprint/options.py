"""What a run of the benchmark measures, and how much of it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.arguments import count, parts_of

PARTS = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Options:
    """Sizes of a run; the defaults are those that the results are told of.

    Attributes:
        parts: Which parts to run, of `PARTS`, in their order.
        nodes: (b) Hollow nodes.
        vms: (b) VMs on them.
        seconds: (b, c) For how long processor time is counted.
        rounds: (d) Clusters that Berth is installed on, and its peer on as many.
    """

    parts: tuple[str, ...] = PARTS
    nodes: int = 250
    vms: int = 5_000
    seconds: int = 120
    rounds: int = 3


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line; ends the process with an explanation where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--part", type=parts_of(PARTS), default=PARTS, metavar="a,b,c,d", help="parts to run (all)")
    parser.add_argument("--smoke", action="store_true", help="sizes that only show that it works")
    parser.add_argument("--nodes", type=count, metavar="N", help="(b) hollow nodes")
    parser.add_argument("--vms", type=count, metavar="N", help="(b) VMs on them")
    parser.add_argument("--seconds", type=count, metavar="S", help="(b, c) for how long processor time is counted")
    parser.add_argument("--rounds", type=count, metavar="N", help="(d) clusters that Berth is installed on")
    given = vars(parser.parse_args(arguments))
    sizes = _SMOKE if given.pop("smoke") else {}
    chosen = {name: value for name, value in given.items() if value is not None and name != "part"}
    return Options(**{**sizes, **chosen, "parts": given["part"]})


_SMOKE: dict[str, int] = {"nodes": 5, "vms": 50, "seconds": 10, "rounds": 1}
