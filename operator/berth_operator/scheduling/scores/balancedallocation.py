"""A node is the better, the more alike the shares of CPU and of memory that are left: nothing is stranded.

Source: kube-scheduler's NodeResourcesBalancedAllocation, for two resources.
"""

import numpy as np

from berth_operator.scheduling.fits import Rows
from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.plugins import Score
from berth_operator.scheduling.requests import Request


def rate(rows: Rows, request: Request, _feasible: BoolArray) -> FloatArray:
    """1 less the difference of the shares."""
    cpu, memory = rows.shares_left(request)
    return np.asarray(1 - np.abs(cpu - memory))


SCORE = Score("BalancedAllocation", rate, rowwise=True)
