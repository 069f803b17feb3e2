"""(b) What the operator takes: with hollow nodes and nothing on them, then with many VMs that run and do nothing.

Hollow nodes send heartbeats as real ones do, and report VMs as running; what the operator does about these is in its
figures. Its API server, etcd and the nodes' player are on the same machine, but not in them.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.figures import Measured
from benchmarks.footprint.options import Options
from benchmarks.footprint.reports import HEAD, markdown, watch
from benchmarks.scheduling.binding import quiet
from benchmarks.scheduling.clients import BusyError, Client
from benchmarks.scheduling.controlplane import ControlPlane, running
from benchmarks.scheduling.objects import furnish
from benchmarks.scheduling.processes import Child
from benchmarks.scheduling.schedulers import BERTH
from berth_api import kinds
from berth_dev.progress import Say

_PATIENCE = 600.0
_LOOK = 10.0
"""Seconds between lists of all objects, which cost the server more than what they look for."""


async def measure(options: Options, say: Say) -> Measured:
    """Watch an operator without and with VMs, print the table, and return the figures.

    Raises:
        TimeoutError: Nodes or VMs are not there in time.
        EndedError: A process has ended.
    """
    with tempfile.TemporaryDirectory(prefix="berth-footprint-") as folder:
        async with running(Path(folder), None, say) as control_plane, _played(control_plane, options, say):
            operator = BERTH.start(control_plane, None)
            try:
                await quiet(operator)
                idle = await watch(operator.pid, options.seconds, operator.check)
                await BERTH.create(control_plane.client, options.vms)
                await _until(control_plane.client, BERTH.path, _runs, options.vms, operator)
                say(f"{options.vms} VMs run")
                await quiet(operator)
                full = await watch(operator.pid, options.seconds, operator.check)
            finally:
                operator.stop()
    rows = [idle.row("without VMs"), full.row(f"{options.vms} VMs running")]
    markdown(f"(b) the operator, {options.nodes} nodes", HEAD, rows)
    per_vm = (full.resident - idle.resident) * 1024 / options.vms
    print(f"\n{per_vm:.1f} KiB per VM")
    return [], {**idle.figures("operator_idle"), **full.figures("operator_full"), "operator_kib_per_vm": per_vm}


@asynccontextmanager
async def _played(control_plane: ControlPlane, options: Options, say: Say) -> AsyncIterator[None]:
    """Hollow nodes that have reported; their objects go with the control plane."""
    await furnish(control_plane.client, 0)
    admin = control_plane.folder / "admin.kubeconfig"
    argv = [sys.executable, "-m", "berth_dev", "hollow", "--kubeconfig", str(admin), "--keep"]
    player = Child([*argv, "--nodes", str(options.nodes)], log=control_plane.log("hollow"))
    try:
        await _until(control_plane.client, kinds.HYPERVISOR.path(), _has_reported, options.nodes, player)
        say(f"{options.nodes} hollow nodes are there")
        yield
    finally:
        player.stop()


async def _until(client: Client, path: str, is_there: Any, count: int, child: Child) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        found = 0
        with suppress(BusyError):
            async for page in client.pages(path):
                found += sum(map(is_there, page))
        if found >= count:
            return
        child.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path}: {found} of {count} after {_PATIENCE:g} s; see {child.log}")
        await asyncio.sleep(_LOOK)


def _has_reported(hypervisor: dict[str, Any]) -> bool:
    """Whether its agent has said what there is; whether it is ready, the operator will say."""
    return "capacity" in (hypervisor.get("status") or {})


def _runs(vm: dict[str, Any]) -> bool:
    return (vm.get("status") or {}).get("phase") == "Running"
