"""VMs that wait for an object which is not there: told once, and woken at whatever moment it appears."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.operator.gates import SECRET, GatedWorld, add_secret, urgent

from berth_api import kinds
from berth_api.client import Unavailable
from berth_api.kinds import VIRTUAL_MACHINE

pytestmark = pytest.mark.looptime
LOST = Unavailable(0, "", "connection reset")


def small_class(world: GatedWorld) -> None:
    size = {"cpu": {"cores": 1}, "memory": {"size": "256Mi"}}
    world.api.add(kinds.VIRTUAL_MACHINE_CLASS, {"metadata": {"name": "small"}, "spec": size})


def other_network(world: GatedWorld) -> None:
    spec = {"cni": {"plugins": [{"type": "bridge"}]}, "subnets": [{"cidr": "10.8.0.0/24"}]}
    world.api.add(kinds.VIRTUAL_NETWORK, {"metadata": {"name": "wan"}, "spec": spec})


MISSING = pytest.mark.parametrize(
    ("spec", "add"),
    [
        ({"cpu": None, "memory": None, "className": "small"}, small_class),
        ({"networks": [{"name": "nic", "networkName": "wan"}]}, other_network),
        ({"priorityClassName": "urgent"}, urgent),
        ({"cloudInit": SECRET}, add_secret),
    ],
    ids=["class", "network", "priority", "secret"],
)


@MISSING
@pytest.mark.parametrize("moment", [0.0, 0.3, 0.9, 1.1, 3.0])
async def test_what_was_missing_wakes_the_vm_at_whatever_moment_it_appears(
    spec: dict[str, Any], add: Callable[[GatedWorld], None], moment: float
) -> None:
    world = GatedWorld(secret_poll=5.0, retry_parked=1e6)
    world.add_node("node-1")
    world.api.latency = 1.0
    async with world.leading():
        world.add_vm("web", **spec)
        await world.settle(moment)
        add(world)
        await world.settle(5.0 + 3.0 if "cloudInit" in spec else 3.0)
        assert world.vm("web").status.node_name == "node-1"
        assert world.leftovers() == (1, 0)


@MISSING
async def test_what_was_missing_wakes_the_vm_though_it_could_not_be_told(
    spec: dict[str, Any], add: Callable[[GatedWorld], None]
) -> None:
    world = GatedWorld(secret_poll=5.0, backoff_first=1.0, backoff_most=1.0)
    world.add_node("node-1")
    async with world.leading():
        world.api.fail(LOST, verb="apply", kind=VIRTUAL_MACHINE, times=3)
        world.add_vm("web", **spec)
        await world.settle(10)
        assert world.vm("web").status.node_name is None
        add(world)
        await world.settle(7)
        assert world.vm("web").status.node_name == "node-1"


@MISSING
async def test_a_vm_that_is_set_aside_is_looked_at_once(
    spec: dict[str, Any], add: Callable[[GatedWorld], None]
) -> None:
    world = GatedWorld(secret_poll=60.0)
    world.add_node("node-1")
    async with world.leading():
        world.add_vm("web", **spec)
        await world.settle(1)
        await world.settle(10)
        reads = [call for call in world.api.calls if (call.verb, call.kind) == ("get", "Secret")]
        assert len(reads) == int(add is add_secret)
        assert world.attempts_at("web") == 1
        assert world.leftovers() == (0, 0)
