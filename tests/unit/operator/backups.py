"""What a back-up brings back, and what nodes say that they hold of it, for the tests of this folder."""

from typing import Any

from tests.unit.operator.worlds import World, hypervisor_status, vm_body

from berth_api import kinds
from berth_api.fields import ADOPT

VELERO = {"velero.io/restore-name": "nightly-1", "velero.io/backup-name": "nightly"}


def restored(name: str, *, uid: str | None, run_strategy: str = "Always", **more: Any) -> dict[str, Any]:
    """A VM as a back-up tool makes it that restores statuses: a new object with an old one's status."""
    claim = {
        "id": "old-claim",
        "epoch": 99,
        "cpu": "4",
        "memory": "4Gi",
        "storage": "1Gi",
        "pools": [{"name": "default", "size": "1Gi"}],
        "interfaces": [],
    }
    status = {
        "nodeName": "node-1",
        "claim": claim | ({"virtualMachineUID": uid} if uid else {}),
        "admittedClaim": "old-claim",
        "phase": "Running",
        "startedAt": "2025-01-01T00:00:00Z",
        "restartCount": 7,
        **more,
    }
    return {**vm_body(name, runStrategy=run_strategy), "status": status}


def furnished() -> World:
    """Two nodes."""
    one = World()
    one.furnish()
    one.add_node("node-1")
    one.add_node("node-2")
    return one


def remains(*names: str, **used: Any) -> list[dict[str, Any]]:
    return [{"namespace": "default", "name": name, "uid": f"uid-of-old-{name}", **used} for name in names]


def add_vm(world: World, name: str, agreed: str = "*", **spec: Any) -> None:
    """A VM whose owner agrees to what nodes say that they hold of it."""
    body = vm_body(name, **spec)
    body["metadata"]["annotations"] = {ADOPT: agreed}
    world.api.add(kinds.VIRTUAL_MACHINE, body)


async def annotate(world: World, name: str, agreed: str) -> None:
    body = world.api.peek(kinds.VIRTUAL_MACHINE, name, "default")
    assert body is not None
    body["metadata"]["annotations"] = {ADOPT: agreed}
    await world.api.update(kinds.VIRTUAL_MACHINE, name, "default", body)


async def report(world: World, node: str, *names: str, **used: Any) -> None:
    body = world.api.peek(kinds.HYPERVISOR, node)
    assert body is not None
    body["status"] = hypervisor_status(remains=remains(*names, **used))
    await world.api.update(kinds.HYPERVISOR, node, "", body, "status")
