"""Spread: a node is the better, the larger a share of its CPU and memory is left after the request.

Source: kube-scheduler's NodeResourcesFit with LeastAllocated: the mean of the free shares.
"""

import numpy as np

from berth_operator.scheduling.plugins import FloatArray, Score, memory_wanted
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def rate(snapshot: Snapshot, request: Request) -> FloatArray:
    """Mean free share of CPU and memory, 0 to 1, float64 per node."""
    nodes = snapshot.nodes
    cpu = (snapshot.free_cpu - request.cpu) / np.maximum(nodes.cpu, 1)
    memory = (snapshot.free_memory - memory_wanted(snapshot, request)) / np.maximum(nodes.memory, 1)
    return np.asarray(np.clip((cpu + memory) / 2, 0.0, 1.0), dtype=np.float64)


SCORE = Score("LeastAllocated", rate)
