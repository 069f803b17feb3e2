"""(d) What the operator's memory is, with nothing to do, with many bound VMs, and when it starts beside them.

The last part: its VMs are left to go with the control plane.

Resident memory counts every page that is there; the proportional share divides those that other processes have, too:
the interpreter's and its libraries', where several run.
"""

from benchmarks.scheduling.binding import quiet, wait_bound
from benchmarks.scheduling.controlplane import ControlPlane
from benchmarks.scheduling.options import Options
from benchmarks.scheduling.processes import Child
from benchmarks.scheduling.reports import Goal, markdown
from benchmarks.scheduling.schedulers import BERTH
from berth_dev.progress import Say

_Memory = tuple[float, float, float]


async def measure(control_plane: ControlPlane, options: Options, say: Say) -> tuple[list[Goal], dict[str, float]]:
    """Read the memory in each state; print the table; return no goals, and the figures.

    Raises:
        TimeoutError: The VMs are not bound.
    """
    count = options.memory_objects
    client = control_plane.client
    async with client.arrivals(BERTH.path, BERTH.bound) as seen:
        child = BERTH.start(control_plane, None)
        try:
            await BERTH.create(client, 1)
            _must_bind(await wait_bound(seen, 1, child), child)
            await quiet(child)
            idle = _read(child)
            await BERTH.create(client, count - 1, first=1)
            _must_bind(await wait_bound(seen, count, child), child)
            await quiet(child)
            full = _read(child)
        finally:
            child.stop()
    say(f"{count} VMs are bound")
    again = await _restarted(control_plane, count)
    per_vm = (full[1] - idle[1]) * 1024 / max(1, count - 1)
    head = ("operator", "resident MiB", "proportional MiB", "peak MiB")
    states = {"idle": idle, f"{count} VMs bound": full, f"started anew with {count} bound VMs": again}
    rows = [(state, *(f"{value:.0f}" for value in memory)) for state, memory in states.items()]
    markdown(f"(d) memory, {options.nodes} nodes", head, rows)
    print(f"\n{per_vm:.1f} KiB per VM")
    return [], {"idle_mib": idle[0], "full_mib": full[0], "restarted_mib": again[0], "kib_per_vm": per_vm}


async def _restarted(control_plane: ControlPlane, bound: int) -> _Memory:
    """The memory of an operator that finds the VMs bound: it has read them all once it binds one more."""
    async with control_plane.client.arrivals(BERTH.path, BERTH.bound) as seen:
        child = BERTH.start(control_plane, None)
        try:
            await BERTH.create(control_plane.client, 1, first=bound)
            _must_bind(await wait_bound(seen, 1, child), child)
            await quiet(child)
            return _read(child)
        finally:
            child.stop()


def _must_bind(bound: bool, child: Child) -> None:  # noqa: FBT001 - the answer of wait_bound
    if not bound:
        raise TimeoutError(f"the operator has not bound all VMs; see {child.log}")


def _read(child: Child) -> _Memory:
    return child.resident_mib, child.proportional_mib, child.peak_mib
