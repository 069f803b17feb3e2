"""What a decision may know of one node, apart from what VMs hold on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from berth_api.allocatable import NOTHING, Amounts, allocatable
from berth_api.hypervisors import Hypervisor, HypervisorSpec, Reserved
from berth_api.quantities import to_bytes, to_millis

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_NO_RESERVE = Reserved(memory="0")
"""Beside a Node's allocatable, which is what the kubelet's own reserves have left."""


class HeldImage(NamedTuple):
    """An image on a node."""

    digest: str
    size: int
    """Bytes that would have to be downloaded."""


@dataclass(frozen=True)
class Taint:
    """A taint of a Node, as in core/v1."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True)
class NodeFacts:
    """A node. Whether its agent is alive, and what is held on it, are told to the snapshot apart."""

    name: str
    allocatable: Amounts = NOTHING
    slots: int = 250
    """How many VMs it may hold."""
    accelerator: str = ""
    """`kvm` or `tcg`; empty: the node's agent has not reported yet."""
    schedulable: bool = True
    libvirt: bool = True
    """False: the node's agent says that libvirt does not answer it."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    cpu_models: frozenset[str] = frozenset()
    """Empty: not reported, any model is tried."""
    cpu_features: frozenset[str] = frozenset()
    machine_types: frozenset[str] = frozenset()
    firmware: frozenset[str] = frozenset()
    """Beside BIOS, which every node has: EFI, SecureBoot."""
    failing_networks: Mapping[str, str] = field(default_factory=dict)
    """Networks that the node's agent says it cannot provide, and why."""
    images: frozenset[HeldImage] = frozenset()
    """The images that it holds."""
    public_key: str = ""
    """To which user-data can be sealed; empty: none."""


def allocatable_of(hypervisor: Hypervisor, ceiling: Amounts | None = None, *, anchored: bool = False) -> Amounts:
    """What VMs may claim of the node by what it has reported; nothing before its first report.

    Args:
        hypervisor: What the node's agent reports, and what the administrator allows.
        ceiling: CPU and memory that the kubelet says Pods may have of the node. An agent cannot write that, so however
            much it reports, VMs get no more than this times the administrator's overcommit, less the Pods' requests.
        anchored: The kubelet allocates to VMs what they claim, divided by the overcommit, beside the Pods: so what the
            Pods request of the ceiling is not overcommitted.
    """
    status = hypervisor.status
    if status.capacity is None:
        return NOTHING
    pods = status.pod_requests
    requested = Amounts(cpu=to_millis(pods.cpu), memory=to_bytes(pods.memory)) if pods is not None else NOTHING
    reported = allocatable(
        Amounts(
            cpu=to_millis(status.capacity.cpu),
            memory=to_bytes(status.capacity.memory),
            pools={pool.name: to_bytes(pool.capacity) for pool in status.storage_pools if pool.ready},
        ),
        hypervisor.spec,
        requested,
    )
    if ceiling is None:
        return reported
    unreserved = HypervisorSpec(overcommit=hypervisor.spec.overcommit, reserved=_NO_RESERVE)
    if anchored:
        ceiling = Amounts(max(0, ceiling.cpu - requested.cpu), max(0, ceiling.memory - requested.memory))
    most = allocatable(ceiling, unreserved, NOTHING if anchored else requested)
    return replace(reported, cpu=min(reported.cpu, most.cpu), memory=min(reported.memory, most.memory))
