"""A cluster of one node without an operator, and the agent on it, started and stopped around what is measured."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.agent import machines
from benchmarks.agent.bareloop import Template
from benchmarks.agent.fleets import Fleet
from benchmarks.agent.options import Options
from benchmarks.agent.peers import template_of
from benchmarks.agent.processes import QEMU, until_calm
from berth_api.client import ApiClient
from berth_dev import berthparts
from berth_dev.clusters import Cluster
from berth_dev.nodes import NodeHandle
from berth_dev.parts import Part, Program
from berth_dev.progress import Say
from berth_dev.startup import project_root
from berth_dev.states import Options as ClusterOptions

_CPU_OVERCOMMIT = 64
_READY_TIMEOUT = 120.0
_PATIENCE = 300.0
WARM = 199
"""Number of the guest that warms a side up."""


@dataclass(frozen=True)
class Bench:
    """What the parts measure on.

    Attributes:
        cluster: Without an operator; the agent is started by `working_agent`.
        node: The one node.
        fleet: Its VMs.
        template: What the bare loop makes.
        options: Sizes.
        say: Takes progress lines.
    """

    cluster: Cluster
    node: NodeHandle
    fleet: Fleet
    template: Template
    options: Options
    say: Say

    async def settle(self) -> None:
        """Let guests boot: while they do they take all processors, and everything else's time with them."""
        waited = await until_calm(self.cluster.run.run_id, QEMU, patience=self.options.settle)
        self.say(f"guests were given {waited:.0f} s to boot")

    def guests(self, prefix: str, count: int, *, first: int = 0) -> list[machines.Guest]:
        """Guests of this cluster's network."""
        return machines.guests(prefix, count, self.cluster.vm_subnet, first=first)


@contextmanager
def cluster_of(options: Options, say: Say) -> Iterator[Cluster]:
    """A cluster of one node, taken down at the end."""
    settings = {"BERTH_AGENT_WORKERS": str(options.workers)}
    chosen = ClusterOptions(nodes=1, operator=False, agent=False, agent_env=settings)
    cluster = Cluster.up("bench-agent", chosen, say=say, anew=True)
    try:
        yield cluster
    finally:
        cluster.down(say=say)


@asynccontextmanager
async def bench_on(cluster: Cluster, options: Options, say: Say) -> AsyncIterator[Bench]:
    """The cluster with a network, an image that the node holds, and a template of its guests."""
    node = cluster.nodes[0]
    tiny = cluster.images[machines.IMAGE]
    cluster.kubectl.apply([machines.network(cluster.vm_subnet), machines.image(tiny.url, tiny.sha256)])
    operator_kubeconfig = cluster.run.state / "operator" / "kubeconfig"
    async with (
        await ApiClient.connect(cluster.kubeconfig, user_agent="bench/1", deadline=60.0) as admin,
        await ApiClient.connect(operator_kubeconfig, user_agent="bench/1", deadline=60.0) as operator,
    ):
        fleet = Fleet(admin, operator, node=node.name, patience=_PATIENCE)
        with working_agent(cluster, node):
            overcommit = {"spec": {"overcommit": {"cpu": _CPU_OVERCOMMIT}}}
            cluster.kubectl("patch", "hv", node.name, "--type=merge", "-p", json.dumps(overcommit))
            say("fetching the image, and making the bare loop's template")
            template = await _template(cluster, node, fleet, options)
        yield Bench(cluster, node, fleet, template, options, say)


@contextmanager
def working_agent(cluster: Cluster, node: NodeHandle, program: Program | None = None) -> Iterator[Part]:
    """An agent that is ready, stopped at the end.

    Args:
        cluster: The cluster.
        node: The agent's node.
        program: How it is started, where not as usual.
    """
    part = node.agent if program is None else Part(cluster.run, node.agent.name, lambda: program)
    part.start()
    try:
        part.wait_ready(_READY_TIMEOUT)
        yield part
    finally:
        part.stop()


def sampled(cluster: Cluster, node: NodeHandle, argv: list[str]) -> Program:
    """The agent's program, with another command in the place of its own, which finds the benchmark's modules."""
    usual = berthparts.agent_program(cluster.run, node, cluster.kubectl)
    return replace(usual, argv=[*node.entering, *argv], env={**usual.env, "PYTHONPATH": str(project_root())})


async def _template(cluster: Cluster, node: NodeHandle, fleet: Fleet, options: Options) -> Template:
    guests = machines.guests("template", 1, cluster.vm_subnet, first=WARM)
    await fleet.create(guests)
    await fleet.start(guests)
    vm: Mapping[str, Any] = json.loads(cluster.kubectl("get", "vm", guests[0].name, "-o", "json"))
    xml = node.exec(["virsh", "dumpxml", "--inactive", f"{machines.NAMESPACE}_{guests[0].name}"]).stdout
    disk = vm["status"]["disks"][0]["source"]
    info = json.loads(node.exec(["qemu-img", "info", "-U", "--output=json", disk]).stdout)
    await fleet.remove(guests)
    return template_of(xml, vm, info, cni=str(cluster.run.artifacts.cni), workers=options.workers)
