"""Spread: a node is the better, the larger a share of its CPU and memory is left after the request.

Source: kube-scheduler's NodeResourcesFit with LeastAllocated: the mean of the free shares.
"""

import numpy as np

from berth_operator.scheduling.fits import Rows
from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.plugins import Score
from berth_operator.scheduling.requests import Request


def rate(rows: Rows, request: Request, _feasible: BoolArray) -> FloatArray:
    """Mean free share of CPU and memory."""
    cpu, memory = rows.shares_left(request)
    return np.asarray((cpu + memory) / 2)


SCORE = Score("LeastAllocated", rate, rowwise=True)
