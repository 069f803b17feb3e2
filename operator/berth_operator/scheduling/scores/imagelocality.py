"""Nodes that hold the VM's images already: nothing has to be downloaded.

Source: kube-scheduler's ImageLocality: bytes that a node holds already, each image scaled by the share of nodes that
have it, from nothing at 23 MiB to all at 1000 MiB per image. The scaling keeps the one node that had the first VM of an
image from drawing all others; small images, which are there in a second, count for nothing.
It weighs little, too: a tenth decides between nodes that are loaded alike, and no more.
"""

from functools import partial

import numpy as np

from berth_operator.scheduling.nodes import BoolArray, FloatArray, HeldImage
from berth_operator.scheduling.plugins import Score
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.snapshot import Snapshot

LEAST = 23 * 2**20
"""Bytes up to which it does not matter whether they are here."""
MOST = 1000 * 2**20
"""Bytes of one image beyond which more make no difference."""


def rate(snapshot: Snapshot, request: Request, _feasible: BoolArray) -> FloatArray | None:
    """How much of the wanted images the node holds, 0 to 1."""
    wanted = request.requirements.images
    if not wanted:
        return None
    return snapshot.remember(("images", wanted), lambda: _held(snapshot, wanted))


def _held(snapshot: Snapshot, wanted: frozenset[str]) -> FloatArray:
    total = np.zeros(snapshot.rows, dtype=np.float64)
    for digest in sorted(wanted):
        sizes = snapshot.images.map(partial(_size, digest))
        total += sizes * (np.count_nonzero(sizes) / len(snapshot))
    most = MOST * len(wanted)
    return np.asarray((np.clip(total, LEAST, most) - LEAST) / (most - LEAST))


def _size(digest: str, held: frozenset[HeldImage] | None) -> float:
    return float(max((image.size for image in held or () if image.digest == digest), default=0))


SCORE = Score("ImageLocality", rate, weight=0.1)
