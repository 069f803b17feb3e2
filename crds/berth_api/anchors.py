"""The anchor: one Pod per node that requests what the node's VMs hold, so that Pods and VMs are counted in one place.

The kubelet decides what of its node each Pod gets, one after another. It is the only one that sees Pods and, through
the anchor, VMs: operator and agent size and read the anchor by the formulas here, and would overfill the node, or never
agree, if they had two.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256

from berth_api.allocatable import MAX_AMOUNT
from berth_api.hypervisors import Overcommit
from berth_api.objects import GROUP
from berth_api.quantities import from_bytes, from_millis

LABEL = f"{GROUP}/anchor"
"""Label of every anchor, with the value `true`. Only in Berth's own namespace does it mean anything."""
NODE_LABEL = f"{GROUP}/anchor-of"
"""Label of an anchor by which its node's budget selects it, with `node_label` as its value."""
DENIED = f"{GROUP}/anchor-denied"
"""Annotation of an anchor that was made smaller than its node's claims: what the kubelet said to one for all of them.

Only where Pods cannot be resized; elsewhere the kubelet says it by a condition of the Pod itself."""
CONTAINER = "anchor"
"""Name of its only container."""
_PREFIX = "berth-anchor-"
_LONGEST_NAME = 253
_LONGEST_LABEL = 63
_HASH_DIGITS = 16
_MIB = 1024**2


@dataclass(frozen=True)
class Size:
    """What Pods can request of a node: CPU in millicores, memory in bytes."""

    cpu: int = 0
    memory: int = 0

    def __or__(self, other: "Size") -> "Size":
        """Enough for either."""
        return Size(max(self.cpu, other.cpu), max(self.memory, other.memory))

    def __and__(self, other: "Size") -> "Size":
        """What is in both."""
        return Size(min(self.cpu, other.cpu), min(self.memory, other.memory))

    def __add__(self, other: "Size") -> "Size":
        """Enough for both."""
        return Size(self.cpu + other.cpu, self.memory + other.memory)

    def covers(self, other: "Size") -> bool:
        """Whether the other one has its place in this one."""
        return self.cpu >= other.cpu and self.memory >= other.memory

    def __str__(self) -> str:
        return f"CPU {from_millis(self.cpu)}, memory {from_bytes(self.memory)}"

    def to_requests(self) -> dict[str, str]:
        """As a container's requests."""
        return {"cpu": from_millis(self.cpu), "memory": from_bytes(self.memory)}


NOTHING = Size()
"""Neither."""
LEAST = Size(1, _MIB)
"""What an anchor without VMs requests: with nothing it would be of another QoS class, which no resize may change."""


def total(claims: Iterable[Size]) -> Size:
    """What all of them take."""
    sizes = list(claims)
    return Size(sum(each.cpu for each in sizes), sum(each.memory for each in sizes))


def anchored(claims: Size, overcommit: Overcommit) -> Size:
    """What an anchor requests for VMs that claim so much in all.

    Claims count against the node's capacity times the administrator's overcommit, Pods against its capacity: so claims
    are divided by the ratio, rounded up, memory to whole MiB. The larger the claims, the larger the result, so an
    anchor for some of a node's claims is never larger than the one for all.
    """
    cpu = _ceil(Fraction(claims.cpu) / Fraction(str(overcommit.cpu)))
    mebibytes = _ceil(Fraction(claims.memory, _MIB) / Fraction(str(overcommit.memory)))
    return Size(min(MAX_AMOUNT, cpu), min(MAX_AMOUNT, mebibytes * _MIB)) | LEAST


def anchor_name(node: str) -> str:
    """Name of a node's anchor: with the end of a hash where the node's own name would make it too long."""
    return _shortened(_PREFIX + node, node, _LONGEST_NAME)


def node_label(node: str) -> str:
    """A node's name as a label's value, shortened in the same way."""
    return _shortened(node, node, _LONGEST_LABEL)


def _shortened(name: str, node: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    digest = sha256(node.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{name[: longest - _HASH_DIGITS - 1].rstrip('-.')}-{digest}"


def _ceil(amount: Fraction) -> int:
    return -(-amount.numerator // amount.denominator)
