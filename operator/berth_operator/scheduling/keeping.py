"""On which node room should be kept for a VM that no node has room for now."""

from collections.abc import Callable

import numpy as np

from berth_operator.scheduling.profiles import DEFAULT_PROFILE, Profile
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def room_to_keep(
    snapshot: Snapshot,
    request: Request,
    available: Callable[[str], bool],
    profile: Profile = DEFAULT_PROFILE,
) -> str | None:
    """The node that would take the request if it were empty, and that falls short by the least share of itself.

    `available`: whether a node's room may be kept at all. None: there is no such node.
    """
    wanted = snapshot.memory_wanted(request)
    rows = (snapshot.slots > 0) & (snapshot.cpu >= request.cpu) & (snapshot.memory >= wanted)
    for each in profile.filters:
        kept = None if each.room else each.keep(snapshot, request)
        if kept is not None:
            rows &= kept
    short = np.maximum(
        (request.cpu - snapshot.free_cpu) / np.maximum(snapshot.cpu, 1),
        (wanted - snapshot.free_memory) / np.maximum(snapshot.memory, 1),
    )
    for pool, size in request.pools:
        column = snapshot.pools.get(pool)
        if column is None:
            return None
        rows &= column.capacity >= size
        short = np.maximum(short, (size - snapshot.free_storage(pool)) / np.maximum(column.capacity, 1))
    best = np.flatnonzero(rows)
    names = map(snapshot.name, best[np.lexsort((snapshot.order[best], short[best]))].tolist())
    return next(filter(available, names), None)
