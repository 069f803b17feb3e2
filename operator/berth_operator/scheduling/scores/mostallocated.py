"""Pack: a node is the better, the smaller a share of its CPU and memory is left after the request.

Source: kube-scheduler's NodeResourcesFit with MostAllocated. Off by default: it is the opposite of LeastAllocated.
"""

import numpy as np

from berth_operator.scheduling.fits import Rows
from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.plugins import Score
from berth_operator.scheduling.requests import Request


def rate(rows: Rows, request: Request, _feasible: BoolArray) -> FloatArray:
    """Mean share of CPU and memory that is taken then."""
    cpu, memory = rows.shares_left(request)
    return np.asarray(1 - (cpu + memory) / 2)


SCORE = Score("MostAllocated", rate, weight=0.0, rowwise=True)
