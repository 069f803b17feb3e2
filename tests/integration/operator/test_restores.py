"""A VM that a back-up tool restores with its old status, on a real API server with the operator's real rights."""

import pytest
from tests.integration.operator.worlds import World, scheduled

from berth_api import kinds

pytestmark = pytest.mark.integration


async def test_what_was_restored_with_an_old_status_is_placed_anew(world: World) -> None:
    await world.add_node("node-1")
    body = await world.create_vm("web", runStrategy="Once")
    body["status"] = {
        "nodeName": "gone-with-the-old-cluster",
        "claim": {
            "id": "old",
            "epoch": 99,
            "cpu": "1",
            "memory": "300Mi",
            "storage": "1Gi",
            "virtualMachineUID": "6b8f9f4e-0000-4000-8000-000000000000",
        },
        "admittedClaim": "old",
        "phase": "Running",
        "startedAt": "2025-01-01T00:00:00Z",
        "endedAt": "2025-01-02T00:00:00Z",
    }
    await world.api.update(kinds.VIRTUAL_MACHINE, "web", "default", body, "status")
    async with world.operator():
        await world.reason("web", "Bound")
        status = (await world.vm("web"))["status"]
        assert status["nodeName"] == "node-1"
        assert status["claim"]["virtualMachineUID"] == body["metadata"]["uid"]
        assert status["claim"]["id"] != "old"
        assert not {"admittedClaim", "startedAt", "endedAt"} & status.keys()
        assert scheduled(await world.vm("web"))["status"] == "True"
