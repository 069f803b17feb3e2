"""An agent that dies before or after any step of a plan: the next one brings the VM to where it should be.

The steps are the agent's own list: a step that is new there, and that no scene here leads to, fails its tests.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import VM, World
from tests.e2e.faults.dying_agent import VARIABLE, Fuse
from tests.e2e.faults.timelines import Timeline
from tests.e2e.faults.watchers import GuestWatcher

from berth_agent.domain.metadata import NAMESPACE_URI, PREFIX, Owner, handed_over
from berth_agent.reconcile.plan import steps
from berth_agent.reconcile.steps import ACTIONS
from berth_dev.clusters import Cluster
from berth_dev.parts import Part, Program
from berth_dev.processes import poll_until

pytestmark = pytest.mark.e2e

NODE = "node-1"
DEATH_SECONDS = 20.0
"""For the plan to come to the step."""
DONE_SECONDS = 60


@dataclass(frozen=True)
class Scene:
    """What a user does so that a plan holds a step.

    Attributes:
        change: The patch on a running VM; None: the VM is applied.
        first: What the VM's spec has that others do not have.
        done: What kubectl waits for in the end.
        deleted: The VM is deleted.
        adopted: The guest's record is made one of an older agent, which knew no clusters.
        starts: How many processes the guest has had in the end.
    """

    change: str | None = None
    first: Mapping[str, Any] = field(default_factory=dict)
    done: str = "--for=condition=Ready"
    deleted: bool = False
    adopted: bool = False
    starts: int = 1


CREATE = Scene()
DELETE = Scene(deleted=True, done="--for=delete")
DELETE_GRACEFULLY = replace(DELETE, first={"terminationGracePeriodSeconds": 1})
HALT = Scene('{"spec":{"runStrategy":"Halted"}}', done="--for=jsonpath={.status.phase}=Stopped")
PAUSE = Scene('{"spec":{"paused":true}}', done="--for=jsonpath={.status.phase}=Paused")
RESUME = Scene('{"spec":{"paused":false}}', {"paused": True}, done="--for=jsonpath={.status.phase}=Running")
MORE_CPUS = Scene(
    '{"spec":{"cpu":{"sockets":2}}}',
    {"cpu": {"cores": 1, "sockets": 1, "maxSockets": 2}},
    done="--for=jsonpath={.status.observedGeneration}=2",
)
MORE_MEMORY = Scene(
    '{"spec":{"memory":{"size":"224Mi"}}}',
    {"memory": {"size": "96Mi", "maxSize": "352Mi"}},
    done="--for=jsonpath={.status.observedGeneration}=2",
)
ADOPT = Scene('{"metadata":{"annotations":{"look":"again"}}}', adopted=True)
SCENES: Mapping[type[steps.Step], Scene] = {
    steps.AdoptGuest: ADOPT,
    steps.AdmitClaim: CREATE,
    steps.CreateDisk: CREATE,
    steps.AttachInterface: CREATE,
    steps.WriteSeed: CREATE,
    steps.DefineDomain: CREATE,
    steps.StartDomain: CREATE,
    steps.ResumeDomain: RESUME,
    steps.SuspendDomain: PAUSE,
    steps.PlugCPUs: MORE_CPUS,
    steps.PlugMemory: MORE_MEMORY,
    steps.ShutdownDomain: DELETE_GRACEFULLY,
    steps.DestroyDomain: DELETE,
    steps.UndefineDomain: DELETE,
    steps.DetachInterface: DELETE,
    steps.DeleteSeed: DELETE,
    steps.DeleteDisks: DELETE,
    steps.YieldClaim: HALT,
    steps.ReleaseClaim: DELETE,
}
REPEATED = (steps.CreateDisk, steps.AttachInterface, steps.DetachInterface)
"""Steps of which a VM with two disks and two NICs has two."""
BOUNDARIES = [
    *((step, 1, after) for step in ACTIONS for after in (False, True)),
    *((step, 2, True) for step in REPEATED),
]


@pytest.fixture(scope="module")
def fuse(cluster: Cluster) -> Iterator[Path]:
    """Where to lay the fuse of the agent that stands in for the node's own."""
    node, path = cluster.node(NODE), cluster.run.state / "fuse"
    own = node.agent
    own.stop()
    node.agent = Part(cluster.run, own.name, lambda: _with_fuse(node.agent_program(), path, node.entering))
    node.agent.start()
    node.agent.wait_ready()
    yield path
    node.agent.stop()
    path.unlink(missing_ok=True)
    node.agent = own
    own.start()
    own.wait_ready()


def _with_fuse(program: Program, path: Path, entering: list[str]) -> Program:
    argv = [*entering, sys.executable, "-m", "tests.e2e.faults.dying_agent"]
    known = os.environ.get("PYTHONPATH", "")
    env = {VARIABLE: str(path), "PYTHONPATH": f"{known}:{Path(__file__).parents[3]}".removeprefix(":")}
    return replace(program, argv=argv, env={**program.env, **env})


@pytest.mark.parametrize(
    ("step", "number", "after"),
    [
        pytest.param(step, number, after, id=f"{'after' if after else 'before'}-{step.__name__}-{number}")
        for step, number, after in BOUNDARIES
    ],
)
def test_the_next_agent_goes_on_where_one_died(
    world: World, fuse: Path, step: type[steps.Step], number: int, after: bool
) -> None:
    assert step in SCENES, f"no scene leads to {step.__name__}: add one, so that an agent can die there"
    scene, agent = SCENES[step], world.cluster.node(NODE).agent
    vm = world.vm("web", **{**_TWO_OF_ALL, **scene.first})
    burning = Fuse(f"{world.namespace}/web", step.__name__, number, after)
    with GuestWatcher(world.cluster, Timeline()) as watcher:
        if scene is not CREATE:
            world.apply(vm)
            ready = "jsonpath={.status.phase}=Paused" if scene.first.get("paused") else "condition=Ready"
            world.kubectl("wait", f"--for={ready}", "--timeout=60s", f"{VM}/web", timeout=70)
        burning.lay(fuse)
        _act(world, scene, vm)
        deadline = time.monotonic() + DEATH_SECONDS
        while agent.is_running:
            assert poll_until(deadline, interval=0.05), f"no plan came to {burning}"
        agent.start()
        world.kubectl("wait", scene.done, f"--timeout={DONE_SECONDS}s", f"{VM}/web", timeout=DONE_SECONDS + 10)
        agent.wait_ready()
        if scene.adopted:
            deadline = time.monotonic() + DEATH_SECONDS
            while "cluster>" not in _record(world, f"{world.namespace}_web"):
                assert poll_until(deadline, interval=0.1), "the guest's record does not tell its cluster"
        assert watcher.overlaps == []
        assert watcher.starts(f"{world.namespace}_web") <= scene.starts


def _act(world: World, scene: Scene, vm: dict[str, Any]) -> None:
    if scene.adopted:
        _forget_cluster(world, f"{world.namespace}_web")
    if scene.deleted:
        world.kubectl("delete", VM, "web", "--wait=false")
    elif scene.change is None:
        world.apply(vm)
    else:
        world.kubectl("patch", f"{VM}/web", "--type=merge", "-p", scene.change)


def _record(world: World, domain: str, *options: str) -> str:
    return world.cluster.node(NODE).exec(["virsh", "metadata", domain, NAMESPACE_URI, *options]).stdout


def _forget_cluster(world: World, domain: str) -> None:
    for where in ("--config", "--live"):
        owner = Owner.read(_record(world, domain, where))
        told = handed_over(
            _record(world, domain, where), namespace=owner.namespace, name=owner.name, uid=owner.uid, cluster=""
        )
        _record(world, domain, where, "--key", PREFIX, "--set", told)


_TWO_OF_ALL: Mapping[str, Any] = {
    "nodeName": NODE,
    "terminationGracePeriodSeconds": 0,
    "networks": [{"name": name, "networkName": "default"} for name in ("a", "b")],
    "disks": [
        {"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "tiny"}, "size": "64Mi"},
        {"name": "scratch", "size": "16Mi"},
    ],
}
