"""What becomes of VMs whose node falls silent, and of those whose node is gone for certain."""

import asyncio
from typing import Any

import pytest
from tests.unit.operator.lives import Lives

from berth_api.client import Conflict, Unavailable
from berth_api.kinds import HYPERVISOR, LEASE, NODE, VIRTUAL_MACHINE
from berth_operator.controllers.nodeloss import OUT_OF_SERVICE

pytestmark = pytest.mark.looptime
TIMES = {"heartbeat_timeout": 40.0, "node_loss_confirm": 20.0}


async def world_with(*nodes: str, **settings: Any) -> Lives:
    world = Lives(**{**TIMES, **settings})
    for name in nodes:
        world.add_node(name)
    return world


async def silence(world: Lives, seconds: float, *beating: str) -> None:
    """Time passes; only these nodes go on beating."""
    for _ in range(int(seconds / 5)):
        for name in beating:
            await world.beat(name)
        await world.settle(5)


async def beat(world: Lives, seconds: float, name: str) -> None:
    await silence(world, seconds, name)


async def test_a_silent_node_s_vm_says_so_once_and_keeps_everything() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        claim, before = world.claim("web"), world.writes_about("web")
        await silence(world, 50)
        assert world.vm("web").status.phase == "Running"
        await silence(world, 30)
        assert (world.vm("web").status.phase, world.why("web")[0]) == ("NodeLost", "NodeLost")
        assert world.claim("web") == claim
        await silence(world, 100)
        assert world.writes_about("web") == before + 1
        assert world.leftovers() == (1, 0)


async def test_the_agent_takes_the_phase_back_when_it_returns() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        await silence(world, 90)
        await world.runs("web")
        assert world.vm("web").status.phase == "Running"
        await beat(world, 10, "node-1")
        assert (world.vm("web").status.phase, world.why("web")[0]) == ("Running", "Bound")
        assert world.status_writes()[-1].body["status"].keys() == {"nodeName", "claim", "conditions"}


async def test_a_phase_that_the_agent_takes_back_while_its_heartbeat_fails_is_not_fought_over() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        await silence(world, 90)
        before = world.writes_about("web")
        await world.runs("web")
        await silence(world, 60)
        assert (world.vm("web").status.phase, world.writes_about("web")) == ("Running", before)


async def test_a_phase_that_nobody_has_taken_back_yet_stays_while_the_node_returns() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        await silence(world, 90)
        await beat(world, 10, "node-1")
        assert (world.vm("web").status.phase, world.why("web")[0]) == ("NodeLost", "Bound")
        await world.runs("web")
        await beat(world, 10, "node-1")
        assert world.vm("web").status.phase == "Running"


async def test_a_vm_that_is_deleted_stays_while_its_node_is_only_silent() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        await world.delete("web")
        await silence(world, 300)
        assert world.vm("web").status.claim is not None
        assert world.why("web")[0] == "NodeLost"


@pytest.mark.parametrize("how", ["deleted", "tainted"])
async def test_a_vm_that_is_deleted_goes_once_its_node_is_gone_for_certain(how: str) -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        await world.delete("web")
        await silence(world, 70)
        if how == "deleted":
            world.api.remove(NODE, "node-1")
        else:
            taint = {"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}
            await world.set_field(NODE, "node-1", "/spec", {"taints": [taint]}, "")
        await silence(world, 20)
        assert world.api.peek(VIRTUAL_MACHINE, "web", "default") is None
        assert world.leftovers() == (0, 0)
        notes = [call.body["reason"] for call in world.api.calls if call.kind == "Event" and call.verb == "create"]
        assert "NodeLost" in notes


async def test_another_s_finalizer_keeps_the_object_but_not_the_claim() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        await world.set_field(VIRTUAL_MACHINE, "web", "/metadata/finalizers", ["berth.dev/vm", "example.com/mine"])
        await world.delete("web")
        world.api.remove(NODE, "node-1")
        await silence(world, 90)
        vm = world.vm("web")
        assert (vm.status.claim, vm.status.node_name, vm.metadata.finalizers) == (None, None, ("example.com/mine",))
        assert world.leftovers() == (0, 0)


async def test_a_node_that_still_beats_releases_its_vms_itself() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        world.api.remove(NODE, "node-1")
        await world.delete("web")
        await beat(world, 90, "node-1")
        assert world.vm("web").status.claim is not None


async def test_what_the_watch_does_not_show_is_not_certain() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        node = world.operation.cluster.nodes.get("node-1")
        assert node is not None
        world.operation.cluster.nodes.remove({"metadata": {"name": "node-1", "uid": node.uid}})
        await world.delete("web")
        await silence(world, 120)
        assert world.vm("web").status.claim is not None


async def test_a_vm_whose_node_is_gone_stays_bound_until_it_is_deleted() -> None:
    world = await world_with("node-1", "node-2")
    async with world.leading():
        await world.launch("web", nodeName="node-1")
        claim = world.claim("web")
        world.api.remove(NODE, "node-1")
        await silence(world, 90, "node-2")
        assert (world.vm("web").status.phase, world.claim("web")) == ("NodeLost", claim)
        assert "lost for certain" in world.why("web")[1]


async def test_leases_are_read_anew_before_a_node_is_called_lost() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        for _ in range(30):
            await world.beat("node-1")
            await asyncio.sleep(5)
        assert world.vm("web").status.phase == "Running"


async def test_no_node_is_called_lost_while_the_leases_cannot_be_read() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        world.api.fail(Unavailable(0, "", "connection refused"), verb="list", kind=LEASE, times=10_000)
        await asyncio.sleep(300)
        assert world.vm("web").status.phase == "Running"


async def test_a_stopped_vm_of_a_lost_node_does_not_start_before_the_node_is_back() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web")
        await world.set_strategy("web", "Halted")
        await world.stops("web")
        await silence(world, 90)
        claim = world.claim("web").id
        await world.set_strategy("web", "Always")
        await silence(world, 20)
        assert (world.claim("web").id, world.why("web")[0]) == (claim, "NodeLost")
        await beat(world, 15, "node-1")
        assert (world.claim("web").id != claim, world.why("web")[0]) == (True, "Bound")


async def test_a_hypervisor_that_is_deleted_and_comes_back_still_holds_its_vms() -> None:
    world = await world_with("node-1")
    async with world.leading():
        await world.launch("web", memory={"size": "2600Mi"})
        claim = world.claim("web")
        world.api.remove(HYPERVISOR, "node-1")
        await world.settle()
        await world.set_spec("web", memory={"size": "2800Mi"})
        world.add_vm("late", memory={"size": "2600Mi"})
        await world.settle(10)
        assert (world.claim("web"), world.leftovers()[0]) == (claim, 1)
        assert world.why("late")[0] == "Unschedulable"
        world.api.add(HYPERVISOR, {"metadata": {"name": "node-1"}, "spec": {}})
        await world.settle(10)
        assert world.why("late")[0] == "Unschedulable"
        world.api.remove(HYPERVISOR, "node-1")
        world.api.remove(LEASE, "node-1", "berth-system")
        world.api.remove(NODE, "node-1")
        world.add_node("node-1")
        await world.settle(10)
        assert world.claim("web").memory > claim.memory
        assert world.vm("late").status.claim is None


async def test_a_write_that_lands_after_the_vm_was_read_again_fails() -> None:
    """Its answer was lost, the VM shows no claim yet: whoever decides anew must not be overtaken."""
    world = await world_with("node-1", heartbeat_timeout=1e9)
    async with world.leading():
        world.add_vm("web")
        late: dict[str, Any] = {}
        honest = world.api.apply

        async def lose(kind: Any, name: str, namespace: str, body: Any, **options: Any) -> Any:
            if not late and body["status"].get("claim"):
                late.update(kind=kind, name=name, namespace=namespace, body=body, options=options)
                raise Unavailable(0, "", "connection reset")
            return await honest(kind, name, namespace, body, **options)

        world.api.apply = lose  # type: ignore[method-assign]
        blocked = world.api.hold("get", VIRTUAL_MACHINE, "web")
        await world.refresh()
        await blocked.reached()
        assert len(world.operation.ledger) == 1
        blocked.open()
        await asyncio.sleep(5)
        claim = world.claim("web").id
        assert claim != late["body"]["status"]["claim"]["id"]
        reasons = [call.body["status"]["conditions"][0]["reason"] for call in world.status_writes()]
        assert reasons == ["ClaimUncertain", "Bound"]
        with pytest.raises(Conflict, match="modified"):
            await honest(late["kind"], late["name"], late["namespace"], late["body"], **late["options"])
