"""Whether the node that a VM is bound to has room for what it wants there now. Pure.

What chose the node is over and done with, as everywhere in Kubernetes: affinity, spread, selectors, taints and pins are
"ignored during execution". What remains is whether the guest can run there, and whether there is room for what is new:
what the VM holds already it keeps, even on a node that holds too much by now.
"""

from dataclasses import replace

import numpy as np

from berth_operator.scheduling.filters import (
    accelerator,
    cpu,
    cpufeatures,
    cpumodel,
    firmware,
    machinetype,
    memory,
    networks,
    ready,
    reserved,
    schedulable,
    sealable,
    storage,
)
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.place import Placement, Rejection
from berth_operator.scheduling.plugins import NODE_CHANGED, Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot

STARTING: tuple[Filter, ...] = (
    schedulable.FILTER,
    ready.FILTER,
    cpumodel.FILTER,
    cpufeatures.FILTER,
    machinetype.FILTER,
    firmware.FILTER,
    accelerator.FILTER,
    networks.FILTER,
    sealable.FILTER,
)
"""A guest that starts needs all that a new one needs, and a cordoned node takes none."""
RESIZING: tuple[Filter, ...] = (ready.FILTER, networks.FILTER, sealable.FILTER)
"""A guest that runs has the rest."""


def stay(snapshot: Snapshot, request: Request, held: Holding, nature: tuple[Filter, ...]) -> Placement | Rejection:
    """Whether the VM's own node takes the request.

    Args:
        snapshot: Without what the VM itself holds.
        request: What it would hold then.
        held: What it holds now.
        nature: `STARTING` or `RESIZING`.
    """
    row = snapshot.index.get(held.node)
    if row is None:
        return Rejection(f"0/1 nodes: 1 has no Hypervisor: run the node agent on node {held.node}", {}, NODE_CHANGED)
    rejected = np.zeros(snapshot.rows, dtype=np.bool_)
    rejected[row] = True
    wanted = int(snapshot.memory_wanted(request)[row])
    request = replace(
        request, pools=tuple((name, size) for name, size in request.pools if size > held.pools.get(name, 0))
    )
    for each in (*nature, *_room(request, wanted, held)):
        kept = each.keep(snapshot, request)
        if kept is None or kept[row]:
            continue
        return Rejection(_message(each, snapshot, request, rejected, held.node), {each.name: 1}, each.cured_by)
    return Placement(held.node, wanted, 0.0)


def _room(request: Request, memory_wanted: int, held: Holding) -> tuple[Filter, ...]:
    """Filters about what the VM would hold more than now."""
    more_memory, more_cpu, more_storage = memory_wanted > held.memory, request.cpu > held.cpu, bool(request.pools)
    return (
        *((memory.FILTER,) if more_memory else ()),
        *((cpu.FILTER,) if more_cpu else ()),
        *((storage.FILTER,) if more_storage else ()),
        *((reserved.FILTER,) if more_memory or more_cpu or more_storage else ()),
    )


def _message(each: Filter, snapshot: Snapshot, request: Request, rejected: BoolArray, node: str) -> str:
    detail = each.detail(snapshot, request, rejected)
    reason = f"{each.one} ({detail})" if detail else each.one
    return f"0/1 nodes: 1 {reason}; the VM is bound to node {node} and stays there"
