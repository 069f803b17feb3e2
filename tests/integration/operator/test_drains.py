"""Who may empty a node, with a real API server, disruption controller, operator and kubectl; the kubelet is played."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from tests.integration.api.apiserver import free_ports
from tests.integration.operator.apiserver import MORTAL, Server
from tests.integration.operator.kubelets import ANCHOR, NAME, Node, shared_node
from tests.integration.operator.waiting import eventually
from tests.integration.operator.worlds import World

from berth_api.fields import SYSTEM_NAMESPACE
from berth_api.kinds import NODE, POD, POD_DISRUPTION_BUDGET, VIRTUAL_MACHINE, Kind

pytestmark = pytest.mark.integration
LIMIT_RANGE = Kind("LimitRange", "limitranges", namespaced=True, group="", version="v1")
ON = {"anchor": "true", "anchor_image": "pause"}


@pytest.fixture(scope="module")
def disruption(server: Server) -> Iterator[None]:
    """kube-controller-manager with its disruption controller, and nothing else of it."""
    (port,) = free_ports(1)
    with (server.folder / "kube-controller-manager.log").open("ab") as log:
        process = subprocess.Popen(
            [
                *MORTAL,
                server.binaries / "kube-controller-manager",
                f"--kubeconfig={server.kubeconfig}",
                "--controllers=disruption-controller",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--cert-dir={server.folder / 'controllers'}",
            ],
            stdout=log,
            stderr=log,
        )
    yield
    process.kill()
    process.wait(10)


@pytest_asyncio.fixture
async def node(world: World, disruption: None) -> AsyncIterator[Node]:
    del disruption
    async with shared_node(world) as one:
        yield one


async def drain(world: World, *more: str, within: int = 30) -> "subprocess.CompletedProcess[str]":
    """What an administrator types, and no flag that is there to get one's way."""
    command = [world.server.binaries / "kubectl", f"--kubeconfig={world.server.kubeconfig}", "drain", NAME]
    options = ["--ignore-daemonsets", f"--timeout={within}s", *more]
    return await asyncio.to_thread(
        subprocess.run, [*command, *options], capture_output=True, text=True, timeout=within + 30, check=False
    )


async def has_budget(world: World) -> bool:
    budgets = (await world.api.list(POD_DISRUPTION_BUDGET, SYSTEM_NAMESPACE)).items
    return [each["metadata"]["name"] for each in budgets] == [ANCHOR]


async def anchors(world: World) -> list[dict[str, Any]]:
    return (await world.api.list(POD, SYSTEM_NAMESPACE, label_selector="berth.dev/anchor=true")).items


async def test_a_node_without_vms_is_drained_and_has_no_anchor_until_it_is_uncordoned(node: Node) -> None:
    world = node.world
    async with world.operator(**ON) as operator:
        await node.requests(1)
        done = await drain(world)
        assert done.returncode == 0, done.stderr
        assert "--force" not in done.stderr
        await world.create_vm("a", nodeSelector={})  # the operator has seen all that came before, once it answers
        await world.reason("a", "Unschedulable", 20)
        assert await anchors(world) == [], world.log(operator)
        await world.api.apply(NODE, NAME, "", {"spec": {"unschedulable": False}}, field_manager="kubectl-drain")
        await world.bound("a", 20)
        await node.requests(1000)
        assert await node.admit("a") is None


async def test_a_node_with_a_vm_is_refused_by_its_budget_until_the_vm_is_gone(node: Node) -> None:
    world = node.world
    async with world.operator(**ON):
        await node.requests(1)
        await world.create_vm("a", cpu={"cores": 3})
        assert await node.admit("a") is None
        claim = (await world.vm("a"))["status"]["claim"]["id"]
        await world.answer("a", admittedClaim=claim)

        async def watched() -> bool:
            budget = await world.api.get(POD_DISRUPTION_BUDGET, ANCHOR, SYSTEM_NAMESPACE)
            status = budget.get("status", {})
            assert status.get("observedGeneration") == 1, status
            assert (status["currentHealthy"], status["desiredHealthy"], status["disruptionsAllowed"]) == (1, 1, 0)
            return True

        await eventually(watched, 20)
        refused = await drain(world, within=3)
        assert refused.returncode != 0
        assert "violate the pod's disruption budget" in refused.stderr
        assert [each["metadata"].get("deletionTimestamp") for each in await anchors(world)] == [None]
        waiting = asyncio.create_task(drain(world, within=60))
        await world.answer("a", admittedClaim=claim, releasedClaim=claim)
        await world.api.delete(VIRTUAL_MACHINE, "a", "default")
        done = await waiting
        assert done.returncode == 0, done.stderr
        assert not await has_budget(world)
        assert await anchors(world) == []


async def test_it_is_refused_from_the_moment_that_a_vm_is_bound_whoever_is_late(world: World) -> None:
    """No disruption controller has seen the budget yet, and no operator looks after it any longer."""
    async with shared_node(world) as node:
        async with world.operator(**ON):
            await node.requests(1)
            await world.create_vm("a")
            await world.bound("a")
            assert await has_budget(world), "it is there before the binding"
        refused = await drain(world, within=3)
        assert refused.returncode != 0
        assert len(await anchors(world)) == 1


async def test_defaults_of_a_limit_range_do_not_keep_vms_from_starting(node: Node) -> None:
    world = node.world
    limits = {"limits": [{"type": "Container", "default": {"cpu": "500m", "memory": "64Mi"}}]}
    await world.api.create(LIMIT_RANGE, {"metadata": {"name": "defaults"}, "spec": limits}, SYSTEM_NAMESPACE)
    try:
        async with world.operator(**ON):
            await node.requests(1)
            await world.create_vm("a", cpu={"cores": 3})
            assert await node.admit("a") is None
            resources = (await anchors(world))[0]["spec"]["containers"][0]["resources"]
            assert resources["requests"]["cpu"] == "3"
            assert resources["limits"]["cpu"] == "3001m"
    finally:
        await world.api.delete(LIMIT_RANGE, "defaults", SYSTEM_NAMESPACE)


async def test_what_a_limit_range_refuses_is_told_in_the_servers_words(node: Node) -> None:
    world = node.world
    limits = {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}
    await world.api.create(LIMIT_RANGE, {"metadata": {"name": "most"}, "spec": limits}, SYSTEM_NAMESPACE)
    try:
        async with world.operator(**ON) as operator:
            await node.requests(1)
            await world.create_vm("a", cpu={"cores": 3})
            await world.bound("a")

            async def told() -> bool:
                log = world.log(operator)
                return "maximum cpu usage per Container is 1" in log and "is there a LimitRange" in log

            await eventually(told, 20)
    finally:
        await world.api.delete(LIMIT_RANGE, "most", SYSTEM_NAMESPACE)
