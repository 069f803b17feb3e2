"""What can turn a rejection into a placement: the kinds of events that queue and filters share a word for.

A filter says which of them may cure its rejection, the queue wakes only what such an event may help. The kinds are
few on purpose: each event is cheap to name where it is seen, and a needless attempt of one head costs one decision.
"""

from enum import Enum, auto


class Cure(Enum):
    """A kind of event after which a rejected VM may fit."""

    NODE_CHANGED = auto()
    """A node appeared, became ready or schedulable, or its capacity, labels, taints, images or networks changed."""
    CLAIM_FREED = auto()
    """A claim was given back: room, a slot, or a place away from a VM that kept others off."""
    CLAIM_ADDED = auto()
    """A claim was taken: a VM that others want to be beside, or a domain that a spread has to catch up with."""
