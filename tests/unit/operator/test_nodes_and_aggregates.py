"""What the operator says of nodes, images, pools and networks: labels and sums, written only when they change."""

from typing import Any

import pytest
from tests.unit.operator.worlds import DIGEST, World, hypervisor_status

from berth_api import kinds
from berth_api.hypervisors import Hypervisor
from berth_operator.controllers.nodelabels import labels_of

pytestmark = pytest.mark.looptime
COPY = {"digest": DIGEST, "format": "qcow2", "virtualSize": "2Gi", "size": "100Mi"}


async def furnished() -> World:
    world = World()
    world.furnish()
    return world


def labels(world: World, name: str) -> dict[str, str]:
    body = world.api.peek(kinds.NODE, name)
    assert body is not None
    return body["metadata"].get("labels", {})  # type: ignore[no-any-return]


def status(world: World, kind: Any, name: str) -> dict[str, Any]:
    body = world.api.peek(kind, name)
    assert body is not None
    return body.get("status", {})  # type: ignore[no-any-return]


def test_labels_tell_capacity_in_whole_units() -> None:
    body = {"metadata": {"name": "n"}, "status": hypervisor_status(memory="7999Mi", cpu="3500m", cpuModels=["EPYC-v2"])}
    assert labels_of(Hypervisor.from_api(body)) == {
        "berth.dev/hypervisor": "true",
        "berth.dev/accelerator": "tcg",
        "capacity.berth.dev/cpu": "3",
        "capacity.berth.dev/memory-mib": "7999",
        "capacity.berth.dev/storage-gib": "100",
        "cpu-model.berth.dev/EPYC-v2": "true",
    }


@pytest.mark.parametrize("model", ["", "a/b", "-x", "x" * 64, "ä", "a b"])
def test_a_model_that_kubernetes_takes_in_no_label_gets_none(model: str) -> None:
    body = {"metadata": {"name": "n"}, "status": hypervisor_status(cpuModels=[model])}
    assert not [key for key in labels_of(Hypervisor.from_api(body)) if key.startswith("cpu-model")]


async def test_a_node_is_labelled_once_and_unlabelled_when_its_hypervisor_goes() -> None:
    world = await furnished()
    world.add_node("node-1", cpuModels=["Haswell"])
    operations = [{"op": "add", "path": "/metadata/labels/zone", "value": "a"}]
    await world.api.patch_json(kinds.NODE, "node-1", "", operations)
    async with world.leading():
        await world.settle(30)
        assert labels(world, "node-1")["cpu-model.berth.dev/Haswell"] == "true"
        assert len([call for call in world.api.writes if call.kind == "Node" and call.verb == "apply"]) == 1
        world.api.remove(kinds.HYPERVISOR, "node-1")
        await world.settle()
        assert labels(world, "node-1") == {"zone": "a"}
        before = len(world.api.writes)
        await world.settle(700)
        assert len(world.api.writes) == before


async def test_a_model_that_a_node_no_longer_has_loses_its_label() -> None:
    world = await furnished()
    world.add_node("node-1", cpuModels=["Haswell"])
    async with world.leading():
        body = world.api.peek(kinds.HYPERVISOR, "node-1")
        assert body is not None
        world.api.remove(kinds.HYPERVISOR, "node-1")
        body["status"]["cpuModels"] = ["EPYC"]
        del body["metadata"]["uid"]
        world.api.add(kinds.HYPERVISOR, body)
        await world.settle()
        models = {key for key in labels(world, "node-1") if key.startswith("cpu-model")}
        assert models == {"cpu-model.berth.dev/EPYC"}


async def test_a_node_without_node_object_is_not_made() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.api.remove(kinds.NODE, "node-1")
    async with world.leading():
        await world.settle()
        assert world.api.peek(kinds.NODE, "node-1") is None


async def test_an_image_is_ready_once_a_node_holds_it() -> None:
    world = await furnished()
    world.add_node("node-1")
    async with world.leading():
        await world.settle()
        assert status(world, kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, "tiny") == {"phase": "Pending"}
        world.add_node("node-3", images=[COPY])
        world.add_node("node-2", images=[COPY])
        await world.settle()
        assert status(world, kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, "tiny") == {
            "phase": "Ready",
            "format": "qcow2",
            "virtualSize": "2147483648",
            "nodes": ["node-2", "node-3"],
        }
        for name in ("node-2", "node-3"):
            world.api.remove(kinds.HYPERVISOR, name)
        await world.settle()
        assert status(world, kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, "tiny") == {"phase": "Pending"}


async def test_a_pool_counts_the_nodes_on_which_it_is_active() -> None:
    world = await furnished()
    world.add_node("node-1")
    world.add_node("node-2", storagePools=[{"name": "default", "capacity": "1Gi", "ready": False}])
    async with world.leading():
        await world.settle()
        assert status(world, kinds.STORAGE_POOL, "default") == {"nodes": 1}


async def test_a_hundred_bindings_change_a_networks_counts_only_now_and_then() -> None:
    world = await furnished()
    world.add_node("node-1", memory="512Gi", cpu="100")
    async with world.leading():
        await world.settle()
        assert status(world, kinds.VIRTUAL_NETWORK, "lan")["free"] == 253
        before = len(world.status_writes("VirtualNetwork"))
        for number in range(100):
            world.add_vm(f"vm-{number}")
        await world.settle()
        counts = status(world, kinds.VIRTUAL_NETWORK, "lan")
        assert (counts["allocated"], counts["free"]) == (100, 153)
        assert counts["subnets"] == [{"cidr": "10.7.0.0/24", "allocated": 100, "free": 153}]
        assert len(world.status_writes("VirtualNetwork")) - before <= 2
