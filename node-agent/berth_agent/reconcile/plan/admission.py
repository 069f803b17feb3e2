"""Admission: the agent's own check of a claim, before anything is created.

The operator decides on a snapshot; the agent knows what the node really has. It refuses rather than overfills, and it
refuses a former leader's late decision by the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from berth_api.allocatable import Amounts, allocatable
from berth_api.hypervisors import HypervisorSpec
from berth_api.quantities import from_bytes, from_millis, to_bytes, to_millis
from berth_api.virtualmachines import Claim


@dataclass(frozen=True)
class Refusal:
    """Why a claim was not admitted."""

    reason: str
    message: str


def admit(
    claim: Claim,
    others: Mapping[str, Claim],
    room: Amounts,
    spec: HypervisorSpec,
    pods: Amounts,
    *,
    current_epoch: int,
) -> Refusal | None:
    """Refuse the claim if the node cannot hold it beside `others`, else None.

    Args:
        claim: what is to be admitted.
        others: claims already admitted here, by VM UID.
        room: what the node has in all.
        spec: the administrator's overcommit, reserves and limits.
        pods: what the node's Pods request.
        current_epoch: `leaseTransitions` of the operator's Lease.
    """
    if claim.epoch < current_epoch:
        return Refusal(
            "StaleEpoch",
            f"the claim was decided in epoch {claim.epoch}, but the operator's Lease is at {current_epoch}",
        )
    if len(others) >= spec.max_virtual_machines:
        return Refusal(
            "NoFreeSlot", f"the node holds {len(others)} VMs already, and may hold {spec.max_virtual_machines}"
        )
    limits, taken = allocatable(room, spec, pods), tuple(others.values())
    return _cpu(claim, taken, limits) or _memory(claim, taken, limits) or _storage(claim, taken, limits)


def _cpu(claim: Claim, others: tuple[Claim, ...], limits: Amounts) -> Refusal | None:
    short = to_millis(claim.cpu) + sum(to_millis(other.cpu) for other in others) - limits.cpu
    return Refusal("InsufficientCPU", f"the node is short of {from_millis(short)} CPU") if short > 0 else None


def _memory(claim: Claim, others: tuple[Claim, ...], limits: Amounts) -> Refusal | None:
    short = to_bytes(claim.memory) + sum(to_bytes(other.memory) for other in others) - limits.memory
    return Refusal("InsufficientMemory", f"the node is short of {from_bytes(short)} of memory") if short > 0 else None


def _storage(claim: Claim, others: tuple[Claim, ...], limits: Amounts) -> Refusal | None:
    for pool in claim.pools:
        if pool.name not in limits.pools:
            return Refusal("StoragePoolNotReady", f"the storage pool {pool.name} is not ready on the node")
        taken = sum(to_bytes(p.size) for other in others for p in other.pools if p.name == pool.name)
        short = to_bytes(pool.size) + taken - limits.pools[pool.name]
        if short > 0:
            return Refusal("InsufficientStorage", f"the storage pool {pool.name} is short of {from_bytes(short)}")
    return None
