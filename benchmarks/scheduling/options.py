"""What a run of the benchmark measures, and how much of it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arguments import count, not_negative, parts_of

PARTS = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Options:
    """Sizes of a run; the defaults are those that the results are told of.

    Attributes:
        parts: Which parts to run, of `PARTS`, in their order.
        decision_nodes: (a) Nodes in the snapshot, a size a row.
        decision_seconds: (a) For how long each size is measured, at least.
        nodes: (b, c, d) Nodes in the cluster.
        objects: (b) VMs, and Pods, of a round.
        rounds: (b) Rounds of each scheduler, alternating.
        mixed_rounds: (b) Rounds of each scheduler with anti-affinity; 0 leaves them out.
        latency_objects: (c) VMs, and Pods, created one by one.
        memory_objects: (d) VMs.
        tree: Another checkout of the project, whose operator is measured instead of this one's: for a before and after.
        profile: Folder for cProfile's files of the operator and of `place`; a profiled run's figures are not results.
    """

    parts: tuple[str, ...] = PARTS
    decision_nodes: tuple[int, ...] = (100, 1_000, 5_000, 10_000)
    decision_seconds: float = 5.0
    nodes: int = 1_000
    objects: int = 5_000
    rounds: int = 3
    mixed_rounds: int = 1
    latency_objects: int = 200
    memory_objects: int = 10_000
    tree: Path | None = None
    profile: Path | None = None


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line; ends the process with an explanation where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduling", description=__doc__)
    parser.add_argument("--part", type=parts_of(PARTS), default=PARTS, metavar="a,b,c,d", help="parts to run (all)")
    parser.add_argument("--smoke", action="store_true", help="sizes that only show that it works")
    parser.add_argument("--decision-nodes", type=_counts, metavar="N,N", help="(a) nodes in the snapshot")
    parser.add_argument("--decision-seconds", type=float, metavar="S", help="(a) seconds per size")
    parser.add_argument("--nodes", type=count, metavar="N", help="(b, c, d) nodes in the cluster")
    parser.add_argument("--objects", type=count, metavar="N", help="(b) VMs and Pods of a round")
    parser.add_argument("--rounds", type=count, metavar="N", help="(b) rounds of each scheduler")
    parser.add_argument("--mixed-rounds", type=not_negative, metavar="N", help="(b) rounds with anti-affinity")
    parser.add_argument("--latency-objects", type=count, metavar="N", help="(c) VMs and Pods created one by one")
    parser.add_argument("--memory-objects", type=count, metavar="N", help="(d) VMs")
    parser.add_argument("--tree", type=_folder, metavar="FOLDER", help="measure the operator of another checkout")
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="run under cProfile and print where time goes")
    given = vars(parser.parse_args(arguments))
    sizes = _SMOKE if given.pop("smoke") else {}
    chosen = {name: value for name, value in given.items() if value is not None and name != "part"}
    return Options(**{**sizes, **chosen, "parts": given["part"]})


_SMOKE: dict[str, object] = {
    "decision_nodes": (100, 1_000),
    "decision_seconds": 1.0,
    "nodes": 50,
    "objects": 300,
    "rounds": 1,
    "latency_objects": 20,
    "memory_objects": 400,
}


def _folder(text: str) -> Path:
    folder = Path(text).absolute()
    if not (folder / "operator" / "berth_operator").is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no checkout: it has no operator/berth_operator")
    return folder


def _counts(text: str) -> tuple[int, ...]:
    return tuple(count(part) for part in text.split(","))
