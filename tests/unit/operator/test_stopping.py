"""A VM that is stopped gives its CPU and memory back, and claims them again when it shall run."""

import asyncio
from typing import Any

import pytest
from tests.unit.operator.gates import SECRET, add_secret
from tests.unit.operator.lives import Lives

from berth_api import kinds
from berth_api.client import Unavailable
from berth_api.kinds import VIRTUAL_MACHINE

pytestmark = pytest.mark.looptime
HALF: dict[str, Any] = {"memory": {"size": "1300Mi"}}
MOST: dict[str, Any] = {"memory": {"size": "2600Mi"}}
"""Of a node."""


async def stopped(world: Lives, name: str = "web", **spec: Any) -> None:
    """A VM ran, and was halted."""
    await world.launch(name, **(spec or HALF))
    await world.set_strategy(name, "Halted")
    await world.stops(name)
    await world.settle()


async def test_a_stopped_vm_makes_room_for_one_that_waits() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await world.launch("web", **HALF)
        await world.launch("db", **HALF)
        world.add_vm("late", **HALF)
        await world.settle()
        assert world.why("late")[0] == "Unschedulable"
        await world.set_strategy("web", "Halted")
        await world.stops("web")
        await world.settle()
        assert world.vm("late").status.node_name == "node-1"
        assert world.vm("web").status.node_name == "node-1"


async def test_a_start_claims_anew_and_leaves_the_phase_alone() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await stopped(world)
        before = world.claim("web")
        await world.set_strategy("web", "Always")
        await world.settle()
        after, status = world.claim("web"), world.vm("web").status
        assert after.id != before.id
        assert after.model_copy(update={"id": before.id}) == before
        assert (status.node_name, status.phase, status.stopped_claim) == ("node-1", "Stopped", before.id)
        assert world.why("web") == ("Bound", "bound to node node-1")
        assert int(world.snapshot.cpu[0] - world.snapshot.free_cpu[0]) == 1000


async def test_a_start_takes_the_spec_as_it_is_now() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await stopped(world, cpu={"cores": 2}, networks=[{"name": "nic", "networkName": "lan"}])
        address = world.claim("web").interfaces[0]
        networks = [{"name": "new", "networkName": "lan"}, {"name": "nic", "networkName": "lan"}]
        await world.set_spec("web", runStrategy="Always", cpu={"cores": 1}, networks=networks)
        await world.settle()
        claim = world.claim("web")
        nics = {nic.name: nic for nic in claim.interfaces}
        assert (claim.cpu, sorted(nics)) == ("1", ["new", "nic"])
        assert nics["nic"] == address
        assert nics["new"].ip_addresses != address.ip_addresses


async def test_a_start_without_room_says_so_once_and_waits_for_it() -> None:
    world = Lives()
    world.add_node("node-1")
    world.add_node("node-2")
    async with world.leading():
        await stopped(world, **MOST)
        node = world.vm("web").status.node_name
        await world.launch("db", nodeName=node, **MOST)
        await world.set_strategy("web", "Always")
        await world.settle(5)
        reason, message = world.why("web")
        assert reason == "StartPending"
        assert message.startswith("0/1 nodes: 1 lacks memory")
        condition = world.vm("web").status.condition("Scheduled")
        assert condition is not None
        assert (condition.status, world.vm("web").status.phase) == ("True", "Stopped")
        before = world.writes_about("web")
        await world.settle(200)
        assert world.writes_about("web") == before
        await world.delete("db")
        await world.agent("db", releasedClaim=world.claim("db").id)
        await world.settle()
        assert world.claim("web").id != world.vm("web").status.stopped_claim
        assert world.vm("web").status.node_name == node


async def test_a_wish_to_start_that_is_taken_back_is_forgotten() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await stopped(world)
        await world.launch("db", **MOST)
        await world.set_strategy("web", "Always")
        await world.settle()
        assert world.why("web")[0] == "StartPending"
        await world.set_strategy("web", "Halted")
        await world.settle()
        assert world.why("web")[0] == "Bound"
        assert len(world.operation.scheduler.queue) == 0


async def test_what_was_chosen_before_does_not_keep_it_from_starting() -> None:
    """A taint, a selector, a pin to elsewhere: of no weight for a VM that stays where it is."""
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await stopped(world)
        await world.set_spec("web", runStrategy="Always", nodeSelector={"disk": "ssd"}, nodeName="other")
        await world.settle()
        assert world.claim("web").id != world.vm("web").status.stopped_claim


async def test_a_refused_start_is_tried_again_ever_later() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await stopped(world)
        admitted = world.claim("web").id
        await world.set_strategy("web", "Always")
        await world.settle()
        seen = {admitted, world.claim("web").id}
        moments = []
        for _ in range(4):
            await world.refuses_to_start("web", admitted)
            began = world.loop.time()
            await world.refresh()
            await asyncio.sleep(0.5)
            assert world.claim("web").id in seen
            trial = world.api.hold("apply", VIRTUAL_MACHINE, "web")
            await trial.reached()
            moments.append(world.loop.time() - began)
            trial.open()
            await asyncio.sleep(0.1)
            seen.add(world.claim("web").id)
        assert moments[0] >= 0.9
        assert moments[3] > 2 * moments[0]
        await world.runs("web")
        await world.settle()
        assert world.operation._pauses._refused == {}


async def test_a_start_reads_its_secret_again() -> None:
    world = Lives()
    world.add_node("node-1")
    add_secret(world)
    async with world.leading():
        await stopped(world, cloudInit=SECRET)
        before = world.claim("web").sealed_user_data
        await world.set_strategy("web", "Always")
        await world.settle()
        after = world.claim("web").sealed_user_data
        assert before is not None
        assert after not in (None, before)


async def test_a_start_waits_for_its_secret_and_says_so() -> None:
    world = Lives()
    world.add_node("node-1")
    add_secret(world)
    async with world.leading():
        await stopped(world, cloudInit=SECRET)
        claim = world.claim("web").id
        world.api.remove(kinds.SECRET, "s", "default")
        await world.set_strategy("web", "Always")
        await world.settle()
        assert world.why("web")[0] == "StartPending"
        assert "Secret s does not exist" in world.why("web")[1]
        add_secret(world)
        await world.settle(30)
        assert world.claim("web").id != claim


async def test_one_start_and_no_more_though_its_answer_is_lost() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await stopped(world)
        world.api.fail(Unavailable(0, "", "connection reset"), verb="apply", kind=VIRTUAL_MACHINE, after=True)
        await world.set_strategy("web", "Always")
        await world.settle(5)
        claims = [
            call.body["status"]["claim"]["id"] for call in world.status_writes() if "claim" in call.body["status"]
        ]
        assert len(set(claims)) == 2
        assert world.leftovers() == (1, 0)


async def test_a_new_leader_counts_a_stopped_vm_as_stopped() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await stopped(world, **MOST)
    world.operation = world.new_operation()
    async with world.leading():
        world.add_vm("late", **MOST)
        await world.settle()
        assert world.vm("late").status.node_name == "node-1"


async def test_a_start_misses_nothing_that_only_a_new_vm_needs() -> None:
    """Its disks were born long ago, and it was placed: image, pool, PriorityClass and profile may be gone by now."""
    world = Lives()
    world.add_node("node-1")
    world.add_node("node-2")
    world.furnish()
    world.api.add(kinds.PRIORITY_CLASS, {"metadata": {"name": "high"}, "value": 1000})
    root = {"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "tiny"}, "size": "1Gi"}
    async with world.leading():
        await stopped(world, **HALF, disks=[root], priorityClassName="high")
        before = world.claim("web")
        world.api.remove(kinds.PRIORITY_CLASS, "high")
        world.api.remove(kinds.CLUSTER_VIRTUAL_MACHINE_IMAGE, "tiny")
        world.api.remove(kinds.STORAGE_POOL, "default")
        await world.set_spec("web", schedulerProfile="gone")
        await world.set_strategy("web", "Always")
        await world.settle()
        assert world.claim("web").id != before.id
        assert world.why("web")[0] == "Bound"
        world.add_vm("new", **HALF, disks=[root])
        await world.settle()
        assert world.why("new")[0] in {"ImageNotFound", "StoragePoolNotFound"}


async def test_who_stands_by_counts_no_refusal_and_tells_of_none() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await stopped(world)
    before = world.claim("web").id
    await world.set_strategy("web", "Always")
    await world.refuses_to_start("web", admitted="")
    await world.settle()
    name = "berth_scheduler_claims_refused_total"
    assert before == world.claim("web").id
    assert world.registry.get_sample_value(name) == 0.0
    writes = len([call for call in world.api.writes if call.kind == "Event"])
    await world.operation.events.flush(5)
    assert len([call for call in world.api.writes if call.kind == "Event"]) == writes
