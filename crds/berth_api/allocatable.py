"""What VMs may claim of a node: one formula for the operator, which decides by it, and the agent, which checks by it.

If the two differed, a claim would be bound by one and refused by the other, for ever; or the agent's check would let
through what the operator must not have decided.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from berth_api.hypervisors import HypervisorSpec
from berth_api.quantities import to_bytes, to_millis

MAX_AMOUNT = 2**60
"""No node has more of anything; keeps sums within 64 bits, whatever a node reports."""


@dataclass(frozen=True)
class Amounts:
    """CPU in millicores, memory and each storage pool in bytes."""

    cpu: int = 0
    memory: int = 0
    pools: Mapping[str, int] = field(default_factory=dict)


NOTHING = Amounts()


def allocatable(total: Amounts, spec: HypervisorSpec, pods: Amounts = NOTHING) -> Amounts:
    """Capacity times overcommit, less what is reserved and what the node's Pods request.

    Source: OpenStack placement's allocation ratio, with the reserve taken after it, so that a reserve is worth what it
    says.
    """
    ratio, reserved = spec.overcommit, spec.reserved
    return Amounts(
        cpu=_left(total.cpu, ratio.cpu, to_millis(reserved.cpu), pods.cpu),
        memory=_left(total.memory, ratio.memory, to_bytes(reserved.memory), pods.memory),
        pools={name: _left(size, ratio.storage, to_bytes(reserved.storage)) for name, size in total.pools.items()},
    )


def _left(capacity: int, ratio: float, *taken: int) -> int:
    return min(MAX_AMOUNT, max(0, int(capacity * Fraction(str(ratio))) - sum(taken)))
