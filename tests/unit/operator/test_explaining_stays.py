"""`explain` of a VM that is bound and waits on its own node: to start again, or for another size."""

import pytest
from tests.unit.operator.lives import Lives

from berth_operator.explaining import explain
from berth_operator.explanations import Explanation
from berth_operator.scheduling.profiles import build_profiles

pytestmark = pytest.mark.looptime
HALF, MOST = {"memory": {"size": "1300Mi"}}, {"memory": {"size": "2600Mi"}}
"""Of a node."""


async def explained(world: Lives, name: str) -> Explanation:
    profiles = build_profiles(())
    return await explain(
        world.api, world.settings, profiles, namespace="default", name=name, clock=world.loop.time, now=world.now
    )


async def test_a_start_that_waits_for_room_is_explained_by_the_node_that_it_is_bound_to() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await world.launch("web", **HALF)
        await world.set_strategy("web", "Halted")
        await world.stops("web")
        await world.settle()
        await world.launch("db", **MOST)
        world.add_node("node-2")
        await world.set_strategy("web", "Always")
        await world.settle()
        assert world.why("web")[0] == "StartPending"
        found = await explained(world, "web")
        assert (found.reason, found.message, found.chosen) == ("StartPending", world.why("web")[1], None)
        assert [(node.name, list(node.refusals)) for node in found.nodes] == [("node-1", ["Memory"])]
        assert found.notes[0].startswith("The VM is bound to node-1 and waits there for its start")


async def test_so_is_another_size() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await world.launch("web", **HALF)
        await world.launch("db", **HALF)
        await world.set_spec("web", **MOST)
        await world.settle()
        assert world.why("web")[0] == "ResizePending"
        found = await explained(world, "web")
        assert (found.reason, found.message) == ("ResizePending", world.why("web")[1])


async def test_one_that_has_room_is_said_to_have_it() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await world.launch("web", **HALF)
        await world.set_strategy("web", "Halted")
        await world.stops("web")
        await world.settle()
    await world.set_strategy("web", "Always")
    found = await explained(world, "web")
    assert (found.chosen, found.reason) == ("node-1", "")
