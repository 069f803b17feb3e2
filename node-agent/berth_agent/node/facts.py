"""What this node really has: what a claim is admitted against."""

from berth_agent.hypervisor.states import DomainState, HostCapabilities
from berth_agent.node.storage_pools import NodePools
from berth_api.allocatable import Amounts


class NodeFacts:
    """Capabilities, which change only when the node does, storage pools, which come and go, and others' guests."""

    def __init__(self, capabilities: HostCapabilities, pools: NodePools) -> None:
        self.capabilities = capabilities
        self.pools = pools
        self.remains: tuple[DomainState, ...] = ()
        """Domains of other clusters, when they were last looked at: see `reconcile/handovers.py`."""

    @property
    def room(self) -> Amounts:
        """What there is to claim from, in all."""
        return Amounts(
            cpu=self.capabilities.cpus * 1000,
            memory=self.capabilities.memory,
            pools=self.pools.capacities(),
        )
