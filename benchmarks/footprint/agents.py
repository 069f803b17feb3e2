"""(c) What an agent takes on a node without VMs. What each VM adds, `benchmarks/agent` measures."""

import asyncio

from benchmarks.figures import Measured
from benchmarks.footprint.options import Options
from benchmarks.footprint.reports import HEAD, markdown, watch
from berth_dev.clusters import Cluster
from berth_dev.progress import Say
from berth_dev.states import Options as ClusterOptions

_CLUSTER = "bench-footprint"
_SETTLE = 30.0
"""Seconds after the agent's start in which it tells of the node what there is to tell."""


async def measure(options: Options, say: Say) -> Measured:
    """Watch an agent, print the table, and return the figures."""
    chosen = ClusterOptions(nodes=1, operator=False, agent=True)
    cluster = await asyncio.to_thread(Cluster.up, _CLUSTER, chosen, say=say, anew=True)
    try:
        await asyncio.sleep(_SETTLE)
        agent = cluster.part(f"{cluster.nodes[0].name}.agent")
        idle = await watch(agent.pid, options.seconds, lambda: agent.pid)
    finally:
        await asyncio.to_thread(cluster.down, say=say)
    markdown("(c) an agent", HEAD, [idle.row("without VMs")])
    return [], idle.figures("agent_idle")
