"""Nodes that hold the VM's images already: nothing has to be downloaded.

Source: kube-scheduler's ImageLocality, by number of images: a VM has one or two, and they are alike in size.
It weighs little: a download is over in seconds, and where all VMs go to the node that had the first one's image,
nothing spreads. A tenth decides between nodes that are loaded alike, and no more.
"""

from functools import partial

import numpy as np

from berth_operator.scheduling.nodes import BoolArray, FloatArray
from berth_operator.scheduling.plugins import Score
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot


def rate(snapshot: Snapshot, request: Request, _feasible: BoolArray) -> FloatArray | None:
    """The share of the wanted images that the node holds."""
    wanted = request.requirements.images
    if not wanted:
        return None
    return snapshot.remember(("images", wanted), lambda: _held(snapshot, wanted))


def _held(snapshot: Snapshot, wanted: frozenset[str]) -> FloatArray:
    shares = np.zeros(snapshot.rows, dtype=np.float64)
    for digest in wanted:
        shares += snapshot.images.where(partial(_holds, digest))
    return shares / len(wanted)


def _holds(digest: str, held: frozenset[str] | None) -> bool:
    return held is not None and digest in held


SCORE = Score("ImageLocality", rate, weight=0.1)
