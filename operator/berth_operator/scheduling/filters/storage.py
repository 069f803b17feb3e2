"""Nodes that have every storage pool the VM's disks need, with enough left to claim in each."""

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import ROOM, Filter, closest, rounded_bytes
from berth_operator.scheduling.pools import NO_POOL
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Enough bytes in each pool."""
    rows: BoolArray | None = None
    for pool, wanted in request.pools:
        enough = snapshot.has_storage(pool, wanted)
        rows = enough if rows is None else rows & enough
    return rows


def _short(snapshot: Snapshot, pool: str, wanted: int, rejected: BoolArray) -> str:
    free = snapshot.free_storage(pool)
    have = rejected & (free != NO_POOL) & (free < wanted)
    if have.any():
        return f"pool {pool}: {closest(snapshot, have, wanted - free, rounded_bytes)}"
    return f"no pool {pool}" if (rejected & (free == NO_POOL)).any() else ""


def detail(snapshot: Snapshot, request: Request, rejected: BoolArray) -> str:
    """Per pool, the node that comes closest."""
    return "; ".join(filter(None, (_short(snapshot, pool, wanted, rejected) for pool, wanted in request.pools)))


FILTER = Filter("Storage", keep, "lacks storage", "lack storage", detail, cured_by=ROOM, room=True)
