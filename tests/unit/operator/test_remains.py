"""What nodes hold of another cluster: for how long it counts, for whom, and that no report ends the operator."""

from typing import Any

import pytest
from tests.unit.operator.backups import VELERO, add_vm, furnished, remains, report, restored
from tests.unit.operator.test_inventory import Scene
from tests.unit.operator.worlds import GIB, World, hypervisor_status, vm_body

from berth_api import kinds
from berth_api.fields import ADOPT
from berth_operator.leftovers import MOST_ADDRESSES
from berth_operator.scheduling.nodes import allocatable_of
from berth_operator.store import Change

pytestmark = pytest.mark.looptime
LARGEST = str(2**63 - 1)


def velero(name: str, **spec: Any) -> dict[str, Any]:
    body = vm_body(name, **spec)
    body["metadata"]["labels"] = VELERO
    return body


async def untell(world: World, node: str) -> None:
    """The node has an agent that has not told yet."""
    body = world.api.peek(kinds.HYPERVISOR, node)
    assert body is not None
    del body["status"]["remains"]
    await world.api.update(kinds.HYPERVISOR, node, "", body, "status")


async def refuse(world: World, name: str) -> None:
    """The node of a VM lets it go: the VM has to go elsewhere."""
    claim = world.vm(name).status.claim
    assert claim is not None
    await world.agent(name, admittedClaim=claim.id, refusedClaim=claim.id)


async def admit(world: World, name: str) -> None:
    claim = world.vm(name).status.claim
    assert claim is not None
    await world.agent(name, admittedClaim=claim.id, phase="Running")


async def test_no_amount_that_an_agent_says_ends_the_operator_or_makes_room() -> None:
    world = furnished()
    guests = remains(*(f"ghost-{n}" for n in range(500)), cpu=LARGEST, memory=LARGEST)
    for guest in guests:
        guest["pools"] = [{"name": "default", "size": LARGEST}]
    world.api.remove(kinds.HYPERVISOR, "node-2")
    world.add_node("node-3", remains=guests)
    world.add_vm("web")
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.node_name == "node-1"
        assert world.operation.cluster.hypervisors.failures == 0


def test_the_largest_amounts_of_all_guests_take_room_and_give_none() -> None:
    scene = Scene()
    guests = [
        {"namespace": "a", "name": f"g{n}", "uid": f"u{n}", "cpu": LARGEST, "memory": LARGEST} for n in range(500)
    ]
    for guest in guests:
        guest["pools"] = [{"name": "default", "size": LARGEST}]
    scene.hypervisor("n", remains=guests)
    seen = scene.inventory.snapshot()
    assert seen.free_cpu.tolist()[0] < 0
    assert seen.free_memory.tolist()[0] < 0
    assert not seen.has_storage("default", 1).any()
    scene.hypervisor("n", remains=[])
    assert seen.free_memory.tolist()[0] == 4 * GIB - GIB // 2
    assert seen.has_storage("default", 1).all()


def test_a_capacity_beyond_all_machines_overflows_nothing() -> None:
    scene = Scene()
    pools = [{"name": "default", "capacity": LARGEST, "ready": True}]
    scene.hypervisor("n", capacity={"cpu": LARGEST, "memory": LARGEST}, storagePools=pools)
    assert scene.cluster.hypervisors.failures == 0
    found = scene.cluster.hypervisors.get("n")
    assert found is not None
    assert max(allocatable_of(found).cpu, allocatable_of(found).memory) == 2**60
    assert scene.inventory.snapshot().has_storage("default", GIB).all()


async def test_what_no_listener_can_take_in_is_left_out_at_take_over(caplog: pytest.LogCaptureFixture) -> None:
    world = furnished()
    world.add_vm("web")

    def fail(change: Change[Any]) -> None:
        if change.key[1] == "node-2":
            raise OverflowError("a bug")

    world.operation.cluster.hypervisors.listen(fail)
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.node_name is not None
    assert world.operation.cluster.hypervisors.failures > 0
    assert "Hypervisor /node-2" in caplog.text


async def test_what_a_node_told_counts_until_its_new_hypervisor_has_told() -> None:
    """A Hypervisor is deleted to be made anew, and the guests run on."""
    world = furnished()
    await report(world, "node-2", "web", cpu="1", memory="3Gi")
    world.add_vm("web")
    async with world.leading():
        await world.settle()
        await world.api.delete(kinds.HYPERVISOR, "node-2")
        await world.settle()
        assert world.why("web")[0] == "Held"
        assert world.vm("web").status.node_name is None
        status = hypervisor_status()
        del status["remains"]
        world.api.add(kinds.HYPERVISOR, {"metadata": {"name": "node-2"}, "spec": {}, "status": status})
        world.add_vm("stranger", memory={"size": "2Gi"})
        world.add_vm("another", memory={"size": "2Gi"})
        await world.beat("node-2")
        await world.settle()
        assert world.vm("web").status.node_name is None
        assert {world.vm(name).status.node_name for name in ("stranger", "another")} == {"node-1", None}
        await report(world, "node-2")
        await world.settle()
        assert world.vm("web").status.node_name is not None


async def test_what_a_node_told_goes_with_it() -> None:
    world = furnished()
    await report(world, "node-2", "web")
    world.add_vm("web")
    async with world.leading():
        await world.settle()
        await world.api.delete(kinds.HYPERVISOR, "node-2")
        await world.settle()
        await world.api.delete(kinds.NODE, "node-2")
        await world.settle()
        assert world.vm("web").status.node_name == "node-1"


async def test_a_node_that_is_named_is_waited_for_until_it_has_told() -> None:
    world = furnished()
    world.api.remove(kinds.HYPERVISOR, "node-2")
    add_vm(world, "web", "node-2")
    async with world.leading():
        await world.settle()
        reason, message = world.why("web")
        assert reason == "HolderSilent"
        assert "node-2" in message
        status = hypervisor_status(remains=remains("web"))
        world.api.add(kinds.HYPERVISOR, {"metadata": {"name": "node-2"}, "spec": {}, "status": status})
        await world.beat("node-2")
        await world.settle()
        assert world.vm("web").status.node_name == "node-2"


async def test_a_node_without_hypervisor_that_goes_is_waited_for_no_longer() -> None:
    world = furnished()
    world.api.remove(kinds.HYPERVISOR, "node-2")
    add_vm(world, "web", "node-2")
    async with world.leading():
        await world.settle()
        assert world.why("web")[0] == "HolderSilent"
        await world.api.delete(kinds.NODE, "node-2")
        await world.settle()
        assert world.vm("web").status.node_name == "node-1"


@pytest.mark.parametrize("agreed", ["annotation", "label"])
async def test_who_is_content_with_any_node_waits_for_all_that_have_an_agent(agreed: str) -> None:
    world = furnished()
    world.api.add(kinds.NODE, {"metadata": {"name": "control-plane"}, "spec": {}})
    await untell(world, "node-2")
    body = velero("web")
    if agreed == "annotation":
        del body["metadata"]["labels"]
        body["metadata"]["annotations"] = {ADOPT: "*"}
    world.api.add(kinds.VIRTUAL_MACHINE, body)
    world.add_vm("other")
    async with world.leading():
        await world.settle()
        assert world.vm("other").status.node_name is not None
        reason, message = world.why("web")
        assert reason == "HolderSilent"
        assert "node-2" in message
        assert "control-plane" not in message
        await report(world, "node-2", "web")
        await world.settle()
        assert world.vm("web").status.node_name == "node-2"


async def test_the_past_is_forgotten_once_the_vm_was_admitted() -> None:
    world = furnished()
    world.api.add(kinds.VIRTUAL_MACHINE, restored("web", uid="uid-of-old-web"))
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.former_node_name == "node-1"
        await admit(world, "web")
        await world.settle()
        status = world.vm("web").status
        assert (status.former_uid, status.former_node_name) == (None, None)
        assert (status.phase, status.claim is not None) == ("Running", True)
        assert world.api.writes[-1].verb == "patch_json"
        await untell(world, "node-1")
        await refuse(world, "web")
        await world.settle()
        assert world.vm("web").status.node_name == "node-2"


async def test_a_label_agrees_to_the_object_that_was_backed_up_only() -> None:
    world = furnished()
    await report(world, "node-2", "web")
    body = restored("web", uid="another")
    body["metadata"]["labels"] = VELERO
    world.api.add(kinds.VIRTUAL_MACHINE, body)
    async with world.leading():
        await world.settle()
        assert world.why("web")[0] == "Held"


@pytest.mark.parametrize("labelled", [True, False])
async def test_a_vm_that_ran_here_is_neither_drawn_nor_held_by_what_nodes_say_later(labelled: bool) -> None:
    """After an upgrade every node has its first report still to give, and VMs are known to all."""
    world = furnished()
    await untell(world, "node-2")
    await untell(world, "node-1")
    world.api.add(kinds.VIRTUAL_MACHINE, {**velero("web"), "status": {"admittedClaim": "of-long-ago"}})
    if not labelled:
        body = world.api.peek(kinds.VIRTUAL_MACHINE, "web", "default")
        assert body is not None
        body["metadata"]["labels"] = {}
        await world.api.update(kinds.VIRTUAL_MACHINE, "web", "default", body)
    await report(world, "node-2", "web", "db", cpu="100")
    async with world.leading():
        await world.settle()
        status = world.vm("web").status
        assert status.claim is not None, world.why("web")
        assert (status.node_name, status.claim.adopts) == ("node-1", None)


async def test_one_that_is_halted_learns_of_its_disks_at_once() -> None:
    """Not at the next audit: only the watch of Hypervisors delivers here."""
    world = furnished()
    add_vm(world, "web", runStrategy="Halted")
    async with world.leading():
        await world.settle()
        assert world.vm("web").status.phase == "Stopped"
        await report(world, "node-2", "web", pools=[{"name": "default", "size": "1Gi"}])
        body = world.api.peek(kinds.HYPERVISOR, "node-2")
        assert body is not None
        world.operation.cluster.hypervisors.upsert(body)
        await world.settle()
        assert world.vm("web").status.node_name == "node-2"


def test_addresses_of_one_node_count_up_to_so_many() -> None:
    scene = Scene()
    nics = [
        {
            "name": f"nic{n}",
            "networkName": "lan",
            "macAddress": "02:be:00:00:00:77",
            "ipAddresses": [f"10.{n}.{guest // 250}.{guest % 250}"],
        }
        for guest in range(300)
        for n in range(8)
    ]
    guests = [
        {"namespace": "a", "name": f"g{n}", "uid": f"u{n}", "interfaces": nics[8 * n : 8 * n + 8]} for n in range(300)
    ]
    scene.hypervisor("n", remains=guests)
    assert len(scene.inventory.leftovers.shunned("lan")[4]) == MOST_ADDRESSES
    scene.hypervisor("n", remains=guests[1:])
    assert len(scene.inventory.leftovers.shunned("lan")[4]) == MOST_ADDRESSES
    scene.hypervisor("n", remains=[])
    assert not scene.inventory.leftovers.shunned("lan")[4]
