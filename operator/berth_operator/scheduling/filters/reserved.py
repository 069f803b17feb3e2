"""Nodes whose room is not kept for a VM that has waited long for it.

A large VM would wait for ever while small ones take each bit of room that comes free. So, for a while, the room of one
node is kept for it: whoever does not come before it, by priority and then by age, gets in only where both fit.
"""

import numpy as np

from berth_operator.scheduling.nodes import BoolArray
from berth_operator.scheduling.plugins import ROOM, Filter
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Reservation, Snapshot

_BOTH = 2
"""Slots that two VMs take."""


def keep(snapshot: Snapshot, request: Request) -> BoolArray | None:
    """Nodes without a reservation for another that comes first, or with room for both."""
    if not snapshot.reservations:
        return None
    rows = np.ones(snapshot.rows, dtype=np.bool_)
    for node, reservation in snapshot.reservations.items():
        row = snapshot.index.get(node)
        if row is not None and request.claimant.order > reservation.claimant.order:
            rows[row] = _both_fit(snapshot, row, request, reservation)
    return rows


def _both_fit(snapshot: Snapshot, row: int, request: Request, reservation: Reservation) -> bool:
    wanted = int(snapshot.memory_wanted(request)[row])
    return (
        bool(snapshot.free_cpu[row] >= request.cpu + reservation.cpu)
        and bool(snapshot.free_memory[row] >= wanted + reservation.memory)
        and bool(snapshot.free_slots[row] >= _BOTH)
        and all(
            bool(snapshot.free_storage(pool)[row] >= size + reservation.pools.get(pool, 0))
            for pool, size in request.pools
        )
    )


FILTER = Filter(
    "Reserved",
    keep,
    "is kept for a VM that waits longer",
    "are kept for VMs that wait longer",
    cured_by=ROOM,
    room=True,
)
