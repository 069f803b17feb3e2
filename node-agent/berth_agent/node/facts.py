"""What this node really has: what a claim is admitted against."""

from collections.abc import Mapping
from dataclasses import dataclass

from berth_agent.hypervisor.states import DomainOwner, DomainState, HostCapabilities
from berth_agent.node.storage_pools import NodePools
from berth_api.allocatable import Amounts
from berth_api.hypervisors import RemainingInterface


@dataclass(frozen=True)
class Remains:
    """What is here of a VM of another cluster.

    Attributes:
        owner: the VM; namespace and name are empty where only its UID is known.
        domain: its guest's; None: that is gone.
        pools: bytes that its disks may take, by storage pool.
        interfaces: its NICs, those that are whole.
    """

    owner: DomainOwner
    domain: DomainState | None
    pools: Mapping[str, int]
    interfaces: tuple[RemainingInterface, ...]


class NodeFacts:
    """Capabilities, which change only when the node does, storage pools, which come and go, and others' guests."""

    def __init__(self, capabilities: HostCapabilities, pools: NodePools) -> None:
        self.capabilities = capabilities
        self.pools = pools
        self.remains: tuple[Remains, ...] = ()
        """What is here of other clusters, when that was last looked at: see `reconcile/handovers.py`."""
        self.knows_remains = False
        """Whether that has been looked at: that there is nothing may be told once, and then nothing else."""

    @property
    def room(self) -> Amounts:
        """What there is to claim from, in all."""
        return Amounts(
            cpu=self.capabilities.cpus * 1000,
            memory=self.capabilities.memory,
            pools=self.pools.capacities(),
        )
