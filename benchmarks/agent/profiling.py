"""(c) Where an agent's time goes while many VMs start, and while they are deleted. Prints; nothing is a result."""

import re
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.agent.nodes import WARM, Bench, sampled, working_agent
from benchmarks.agent.processes import cpu_by_program, differences
from benchmarks.figures import Measured

_REPORT_TIMEOUT = 10.0
_STEP = re.compile(r"step=(\w+)")
_SECONDS = re.compile(r"seconds=([0-9.]+)")


async def measure(bench: Bench) -> Measured:
    """Start and delete VMs under a sampled agent, once, and print what was seen."""
    folder = bench.options.profile.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    guests = bench.guests("profiled", bench.options.vms)
    warm = bench.guests("warm-profile", 1, first=WARM)
    await bench.fleet.create([*guests, *warm])
    argv = [sys.executable, "-m", "benchmarks.agent.sampling", str(folder), str(bench.options.interval)]
    with working_agent(bench.cluster, bench.node, sampled(bench.cluster, bench.node, argv)) as part:
        await bench.fleet.start(warm)
        await bench.fleet.remove(warm)
        with _sampling(bench, folder, "start"):
            seconds = await bench.fleet.start(guests)
        print(f"start: {seconds:.2f} s under the profile")
        await bench.settle()
        with _sampling(bench, folder, "delete"):
            seconds = await bench.fleet.remove(guests)
        print(f"delete: {seconds:.2f} s under the profile")
        shutil.copy(part.log, folder / "agent.log")
    print("\nsteps, as the agent logs them: count, sum, median and most seconds")
    with (folder / "agent.log").open(encoding="utf-8", errors="replace") as lines:
        for step, taken in steps_in(lines).items():
            print(f"{step:18} {len(taken):4d} {sum(taken):8.2f} {median(taken):7.3f} {max(taken):7.3f}")
    return [], {}


def steps_in(lines: Iterable[str]) -> dict[str, list[float]]:
    """Seconds of each step, by its name, from an agent's log."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for line in lines:
        step, seconds = _STEP.search(line), _SECONDS.search(line)
        if "step done" in line and step is not None and seconds is not None:
            found[step[1]].append(float(seconds[1]))
    return dict(found)


@contextmanager
def _sampling(bench: Bench, folder: Path, name: str) -> Iterator[None]:
    """Sample while this lasts, then print the report.

    Raises:
        TimeoutError: The sampler does not write one.
    """
    switch, report = folder / f"{name}.on", folder / f"{name}.txt"
    report.unlink(missing_ok=True)
    before = cpu_by_program(bench.cluster.run.run_id)
    switch.touch()
    try:
        yield
    finally:
        used = differences(before, cpu_by_program(bench.cluster.run.run_id))
        switch.unlink()
    deadline = time.monotonic() + _REPORT_TIMEOUT
    while not report.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the sampler has not written {report}")
        time.sleep(0.05)
    print(f"\n== {name}")
    print("processor seconds: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in used.items()))
    print(report.read_text(encoding="utf-8"), flush=True)
