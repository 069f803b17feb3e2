"""Many VMs at once, on nodes that are simulated."""

import asyncio
from collections.abc import Iterable
from typing import Any

from tests.integration.operator.waiting import side_by_side
from tests.integration.operator.worlds import World

from berth_api import kinds
from berth_api.allocatable import Amounts, allocatable
from berth_api.fields import FINALIZER
from berth_api.hypervisors import HypervisorSpec
from berth_dev.hollow.options import HollowOptions, Shape

CALM = {"lease_duration": "60", "lease_renew_deadline": "50"}
"""A busy machine must not cost the operator its leadership, where the test is about something else."""
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def nodes(count: int, *, slots: int, zones: int = 3, boot_delay: float = 0.0) -> HollowOptions:
    """Nodes with room for so many VMs of one CPU each; their names are n-0001 and so on."""
    shape = Shape(cpu=f"{slots * 250}m", memory="64Gi", networks=())
    return HollowOptions(
        count=count, prefix="n", zones=zones, shape=shape, heartbeat_interval=3.0, boot_delay=boot_delay
    )


def room_of(options: HollowOptions) -> dict[str, Amounts]:
    """What may be claimed of each of the nodes."""
    amounts = allocatable(options.shape.total, HypervisorSpec(), options.shape.pods)
    return dict.fromkeys(options.names, amounts)


def vm_body(name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A VM of one CPU without a network: more of them than any network has addresses."""
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}, "finalizers": [FINALIZER]},
        "spec": {
            "cpu": {"cores": 1},
            "memory": {"size": "64Mi"},
            "disks": [{"name": "root", "size": "1Gi"}],
            "networks": [],
            **spec,
        },
    }


def group(app: str, topology_key: str) -> dict[str, Any]:
    """A required affinity term: VMs of this app, and nodes that count as one place."""
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": topology_key}


def apart(app: str) -> dict[str, Any]:
    """What a VM of a group says that wants no other of it on its node: its labels and its affinity."""
    affinity = {"vmAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [group(app, HOSTNAME)]}}
    return {"labels": {"app": app}, "affinity": affinity}


async def create(world: World, bodies: Iterable[dict[str, Any]]) -> None:
    """Make these VMs, side by side."""
    await side_by_side(world.api.create(kinds.VIRTUAL_MACHINE, body, "default") for body in bodies)


async def delete(world: World, names: Iterable[str]) -> None:
    """Ask for the deletion of these VMs, side by side."""
    await side_by_side(world.api.delete(kinds.VIRTUAL_MACHINE, name, "default") for name in names)


async def close(world: World, options: HollowOptions, *, closed: bool) -> None:
    """Let the nodes take no more VMs, or let them again."""
    patch = [{"op": "add", "path": "/spec/schedulable", "value": not closed}]
    await asyncio.gather(*(world.api.patch_json(kinds.HYPERVISOR, name, "", patch) for name in options.names))


async def silence(world: World, seconds: float, within: float) -> None:
    """Wait until nobody has written anything but heartbeats for so many seconds.

    Raises:
        AssertionError: There is always somebody who writes.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while True:
        offset = world.server.audit.stat().st_size
        await asyncio.sleep(seconds)
        writes, _ = world.server.writes_since(offset)
        if not writes:
            return
        if loop.time() > end:
            last = [(write["verb"], write["requestURI"]) for write in writes[-5:]]
            raise AssertionError(f"{len(writes)} writes in the last {seconds} s of {within} s, such as {last}")
