"""(b) What VMs cost that only run: few of them first, then many, under the same agent.

Writes are counted from the API server's audit log. Memory is proportional (PSS): what processes share counts once. The
slope is the difference between many and few, divided by the VMs between; QEMU's own memory is not in it, but what
libvirt, its log daemon, the DHCP servers and the agent hold for a VM is.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.agent.audits import POLICY, writes
from benchmarks.agent.nodes import Bench, working_agent
from benchmarks.agent.processes import Memory, cpu_by_program, cpu_seconds, differences, memory_by_program
from benchmarks.figures import Measured, Target, machine
from berth_dev import berthparts, controlplane
from berth_dev.clusters import Cluster
from berth_dev.parts import Part

AGENT = "berth-agent"
PARTS = (AGENT, "libvirtd", "virtlogd", "dnsmasq")
"""What holds memory for a VM beside its QEMU, by program."""
LEASE = "update leases"
ASKED_AGAIN = 120.0
"""Seconds after the boot in which the agent asks guests once more who they are, and writes down what it is told."""
CPU_LIMIT = 2.0
MEMORY_LIMIT = 150.0
SLOPE_LIMIT = 1.0
_MB = (1 << 20) / 1e6
"""Megabytes in a MiB: the targets are in megabytes."""


@dataclass(frozen=True)
class Idleness:
    """What was seen while so many VMs did nothing.

    Attributes:
        vms: How many.
        seconds: For how long.
        cpu: Processor seconds of the agent and its children.
        writes: The agent's, by what was done to what.
        memory: By program, at the end.
        programs: Processor seconds of everything in the cluster, by program.
    """

    vms: int
    seconds: float
    cpu: float
    writes: Counter[str]
    memory: Mapping[str, Memory]
    programs: Mapping[str, float]

    @property
    def cpu_percent(self) -> float:
        """Of one core."""
        return 100 * self.cpu / self.seconds

    @property
    def other_writes(self) -> int:
        """Writes that are not the heartbeat."""
        return self.writes.total() - self.writes[LEASE]


async def measure(bench: Bench) -> Measured:
    """Watch few and many idle VMs, print a table, and say what a VM costs."""
    few, many = bench.options.few, bench.options.vms
    guests = bench.guests("idle", many)
    await bench.fleet.create(guests)
    with audited(bench.cluster) as log, working_agent(bench.cluster, bench.node) as agent:
        seen = []
        for group in (guests[:few], guests[few:]):
            await bench.fleet.start(group)
            await bench.settle()
            await asyncio.sleep(ASKED_AGAIN)
            running = few if group[0] is guests[0] else many
            seen.append(await watch(bench, log, agent.pid, running))
        await bench.fleet.remove(guests)
    show(seen)
    return targets(*seen)


async def watch(bench: Bench, log: Path, agent: int, vms: int) -> Idleness:
    """Look before and after."""
    run_id = bench.cluster.run.run_id
    size, before = await asyncio.to_thread(log.stat), cpu_by_program(run_id)
    begun, cpu = time.monotonic(), cpu_seconds(agent)
    await asyncio.sleep(bench.options.seconds)
    seconds, used = time.monotonic() - begun, cpu_seconds(agent) - cpu
    mine = await asyncio.to_thread(_writes_since, log, size.st_size)
    programs = differences(before, cpu_by_program(run_id))
    return Idleness(vms, seconds, used, mine, memory_by_program(run_id), programs)


def _writes_since(log: Path, offset: int) -> Counter[str]:
    with log.open(encoding="utf-8") as lines:
        lines.seek(offset)
        return writes(lines).get(berthparts.AGENT_USER, Counter())


def slopes(few: Idleness, many: Idleness) -> dict[str, float]:
    """MiB per VM, by program."""
    nothing = Memory(0.0, 0.0)
    return {
        part: (many.memory.get(part, nothing).proportional - few.memory.get(part, nothing).proportional)
        / (many.vms - few.vms)
        for part in PARTS
    }


def targets(few: Idleness, many: Idleness) -> Measured:
    """What is asked of an agent, and the figures beside it."""
    by_part = slopes(few, many)
    found = [
        Target("idle_writes_besides_lease", float(few.other_writes + many.other_writes), 0.0),
        Target("idle_cpu_percent", many.cpu_percent, CPU_LIMIT),
        Target("idle_agent_rss_mb", many.memory[AGENT].resident * _MB, MEMORY_LIMIT),
        Target("memory_per_vm_mb", sum(by_part.values()) * _MB, SLOPE_LIMIT),
    ]
    figures = {f"per_vm_{part.replace('-', '_')}_mb": slope * _MB for part, slope in by_part.items()}
    lease = 60 * many.writes[LEASE] / many.seconds
    return found, {
        **figures,
        "lease_writes_per_minute": lease,
        "idle_agent_pss_mb": many.memory[AGENT].proportional * _MB,
    }


def show(seen: Sequence[Idleness]) -> None:
    """Print what was seen, and each part's share of a VM."""
    print(f"\n### (b) idle VMs\n\n{machine()}\n")
    head = ("VMs", "seconds", "Lease writes/min", "other writes", "agent CPU % of a core")
    rows = [
        (
            f"{one.vms}",
            f"{one.seconds:.0f}",
            f"{60 * one.writes[LEASE] / one.seconds:.1f}",
            f"{one.other_writes}",
            f"{one.cpu_percent:.2f}",
        )
        for one in seen
    ]
    _print(head, rows)
    print()
    memory_rows = [
        (part, *(f"{one.memory[part].proportional:.1f}" if part in one.memory else "0" for one in seen), f"{slope:.3f}")
        for part, slope in slopes(*seen).items()
    ]
    _print(("PSS in MiB", *(f"{one.vms} VMs" for one in seen), "per VM"), memory_rows)
    for one in seen:
        others = {what: count for what, count in one.writes.items() if what != LEASE}
        busy = ", ".join(f"{name} {100 * used / one.seconds:.1f} %" for name, used in one.programs.items() if used)
        print(f"\n{one.vms} VMs: agent resident {one.memory[AGENT].resident:.0f} MiB; other writes: {others or 'none'}")
        print(f"processors: {busy}")


def _print(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")


@contextmanager
def audited(cluster: Cluster) -> Iterator[Path]:
    """The API server started anew with an audit log, whose path is given; as before at the end."""
    name = "kube-apiserver"
    folder = cluster.run.state / "control-plane"
    policy, log = folder / "audit-policy.json", folder / "audit.log"
    policy.write_text(json.dumps(POLICY), encoding="utf-8")
    usual = controlplane.programs(cluster.run, cluster.run.artifacts.bin, folder)[name]
    flags = [f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=blocking"]
    server = Part(cluster.run, name, lambda: replace(usual, argv=[*usual.argv, *flags]))
    for part in (server, cluster.part(name)):
        cluster.stop(name)
        part.start()
        part.wait_ready()
        if part is server:
            yield log
