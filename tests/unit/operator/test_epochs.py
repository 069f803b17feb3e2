"""What a former leader bound just before its end, and what its nodes make of it."""

from dataclasses import replace

import pytest
from tests.unit.operator.worlds import World

pytestmark = pytest.mark.looptime


async def test_a_claim_that_was_refused_under_another_leader_is_not_held_against_its_node() -> None:
    world = World(refusal_exclusion=60.0)
    world.furnish()
    world.add_node("node-1")
    world.add_vm("web")
    async with world.leading():
        first = world.vm("web").status.claim
        assert first is not None
    world.operation = world.new_operation()
    world.leadership = replace(world.leadership, epoch=8)
    async with world.leading():
        await world.agent("web", refusedClaim=first.id, phase="Scheduled")
        await world.settle(1)
        second = world.vm("web").status
        assert second.claim is not None
        assert (second.node_name, second.claim.epoch) == ("node-1", 8)
        assert second.claim.interfaces == first.interfaces

        await world.agent("web", refusedClaim=second.claim.id, phase="Scheduled")
        await world.settle(1)
        assert "1 refused this VM lately" in world.why("web")[1]
