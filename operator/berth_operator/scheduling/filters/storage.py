"""Nodes that have every storage pool the VM's disks need, with enough left to claim in each."""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import Filter, closest, rounded_bytes
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray:
    """Enough bytes in each pool."""
    rows = np.ones(len(snapshot.nodes), dtype=np.bool_)
    for pool, wanted in request.pools.items():
        rows &= snapshot.free_storage(pool) >= wanted
    return rows


def _short(snapshot: Snapshot, request: Request, pool: str, rejected: BoolArray) -> str:
    free, wanted = snapshot.free_storage(pool), request.pools[pool]
    have = rejected & (free >= 0) & (free < wanted)
    if have.any():
        return f"pool {pool}: {closest(snapshot, have, wanted - free, rounded_bytes)}"
    return f"no pool {pool}" if (rejected & (free < 0)).any() else ""


def detail(snapshot: Snapshot, request: Request, rejected: BoolArray) -> str:
    """Per pool, the node that comes closest."""
    return "; ".join(filter(None, (_short(snapshot, request, pool, rejected) for pool in sorted(request.pools))))


FILTER = Filter("Storage", keep, "lacks storage", "lack storage", detail)
