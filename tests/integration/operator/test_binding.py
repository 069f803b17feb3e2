"""A VM is placed, addressed, claimed and bound in one write, on a real API server."""

import time

import pytest

pytestmark = pytest.mark.integration


async def test_a_vm_is_bound_by_one_write_within_a_moment(world):
    await world.add_node("node-1")
    async with world.operator():
        await world.create_vm("warm-up")
        await world.bound("warm-up")
        _, offset = world.server.writes_since(0)
        started = time.monotonic()
        await world.create_vm("first")
        vm = await world.bound("first")
        print("LATENCY", time.monotonic() - started)
        assert time.monotonic() - started < 1
        print(vm)
        writes, _ = world.server.writes_since(offset)
        print([(w["verb"], w["requestURI"]) for w in writes])
