"""(a) Many VMs bound to one node at once, beside the same made by a bare loop, in turns.

Each turn begins with a side that has just been started and then warmed up by one guest, while the other side does not
run. Berth's time goes from the first claim that is written to the last VM that is Running, and from the first delete to
the last claim that is released: the API server's work for both, and every report of the agent's, is in it. The bare
loop's goes from its first command to its last. Between making and taking down the guests boot: while thirty of them do
so, all that is measured is who gets a processor. For the end of a QEMU both sides wait until the machine's init has
reaped it, so that is measured and printed, too.
"""

from collections.abc import Awaitable, Callable
from statistics import median

from benchmarks.agent import peers
from benchmarks.agent.nodes import WARM, Bench, working_agent
from benchmarks.agent.processes import reaping_seconds
from benchmarks.figures import Measured, Target, table

RATIO_LIMIT = 1.2
_ORPHANS = 5
_LEFT = (
    ("domains", ["virsh", "-q", "-c", "qemu:///system", "list", "--all", "--name"]),
    ("taps and veths", ["sh", "-c", "ls /sys/class/net | grep -E '^(bt|bv|t-|v-)' || true"]),
    ("sandboxes", ["ls", "/run/netns"]),
    ("disks and seeds", ["find", "/var/lib/berth/disks", "/var/lib/berth/seeds", peers.FOLDER, "-type", "f"]),
)

Turn = tuple[float, float]
"""Seconds to make all, and to take all down."""


class NotCleanError(RuntimeError):
    """A side has left something on the node: its time is not that of the whole work."""


async def measure(bench: Bench) -> Measured:
    """Take turns, print a table, and say how often Berth's time is the bare loop's."""
    sides: dict[str, Callable[[Bench, int], Awaitable[Turn]]] = {"Berth": _berth, "bare loop": _bare}
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    bench.node.exec(["mkdir", "-p", peers.FOLDER])
    for number in range(bench.options.rounds):
        for name, side in sides.items():
            turn = await side(bench, number)
            check_clean(bench)
            turns[name].append(turn)
            bench.say(f"round {number + 1}, {name}: up {turn[0]:.2f} s, down {turn[1]:.2f} s")
    count = bench.options.vms
    reaped = median(reaping_seconds() for _ in range(_ORPHANS))
    print(f"\nthis machine's init reaps a process after {reaped:.2f} s (median of {_ORPHANS})")
    targets = []
    figures = {"reaping_s": reaped}
    for index, what in enumerate(("start", "delete")):
        series = {name: [turn[index] for turn in found] for name, found in turns.items()}
        table(f"(a) {what} {count} VMs at once, {bench.options.workers} at a time", series, "s")
        middles = {name: median(samples) for name, samples in series.items()}
        targets.append(Target(f"{what}_ratio", middles["Berth"] / middles["bare loop"], RATIO_LIMIT))
        figures[f"{what}_berth_s"], figures[f"{what}_bare_s"] = middles["Berth"], middles["bare loop"]
    return targets, figures


async def _berth(bench: Bench, number: int) -> Turn:
    guests = bench.guests(f"berth{number}", bench.options.vms)
    warm = bench.guests(f"warm{number}", 1, first=WARM)
    await bench.fleet.create([*guests, *warm])
    with working_agent(bench.cluster, bench.node):
        await bench.fleet.start(warm)
        await bench.fleet.remove(warm)
        up = await bench.fleet.start(guests)
        await bench.settle()
        return up, await bench.fleet.remove(guests)


async def _bare(bench: Bench, number: int) -> Turn:
    guests = bench.guests(f"bare{number}", bench.options.vms)
    warm = bench.guests("w", 1, first=WARM)
    with peers.running(bench.cluster, bench.node, bench.template) as peer:
        peer.start(warm)
        peer.remove(warm)
        up = peer.start(guests)
        await bench.settle()
        return up, peer.remove(guests)


def check_clean(bench: Bench) -> None:
    """See that nothing is left.

    Raises:
        NotCleanError: What is.
    """
    for what, argv in _LEFT:
        left = bench.node.exec(argv, check=False).stdout.split()
        if left:
            raise NotCleanError(f"{what} are left on the node: {', '.join(left[:5])}")
