"""All filters, in the order in which a rejected node is given its reason: the most telling first."""

from berth_operator.scheduling.filters import (
    cpu,
    cpumodel,
    memory,
    networks,
    pinned,
    ready,
    refused,
    schedulable,
    sealable,
    selected,
    storage,
    tolerated,
)
from berth_operator.scheduling.plugins import Filter

FILTERS: tuple[Filter, ...] = (
    pinned.FILTER,
    selected.FILTER,
    tolerated.FILTER,
    schedulable.FILTER,
    ready.FILTER,
    refused.FILTER,
    cpumodel.FILTER,
    networks.FILTER,
    sealable.FILTER,
    memory.FILTER,
    cpu.FILTER,
    storage.FILTER,
)
