"""The node's storage pools: for each StoragePool object a libvirt pool of the same type and path.

A pool that cannot be made ready (a path that is a file, a file system that is full) is reported with its reason, and
does not disturb the others.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

import structlog

from berth_agent.hypervisor.errors import HypervisorError
from berth_agent.hypervisor.ports import HypervisorPort
from berth_agent.hypervisor.states import PoolInfo
from berth_agent.storage.errors import PoolUnavailable
from berth_api.hypervisors import HypervisorPool
from berth_api.quantities import from_bytes
from berth_api.storagepools import StoragePool

log = structlog.get_logger()

LIBVIRT_PREFIX = "berth-"
"""Before the names of our pools in libvirt, which may have pools of others."""


class NodePools:
    """The pools that are ready on this node; `berth_agent.storage.pools.Pools` for the disks."""

    def __init__(self, hypervisor: HypervisorPort) -> None:
        self._hypervisor = hypervisor
        self._ready: dict[str, PoolInfo] = {}
        self._problems: dict[str, str] = {}
        self._shared: frozenset[str] = frozenset()

    async def refresh(self, pools: Iterable[StoragePool]) -> None:
        """Make the pools ready that are not, and take note of what each has."""
        wanted = tuple(pools)
        for name in (self._ready.keys() | self._problems.keys()) - {pool.metadata.name for pool in wanted}:
            self._ready.pop(name, None)
            self._problems.pop(name, None)
        self._shared = frozenset(pool.metadata.name for pool in wanted if pool.spec.shared)
        for name in {pool.metadata.name for pool in wanted} - self._ready.keys():
            self._problems.setdefault(name, "it is being made ready")
        for pool in wanted:
            await self._refresh_one(pool)

    async def _refresh_one(self, pool: StoragePool) -> None:
        name = pool.metadata.name
        try:
            info = await self._hypervisor.ensure_pool(LIBVIRT_PREFIX + name, pool.spec.type, Path(pool.spec.path))
        except HypervisorError as error:
            log.warning("storage pool not ready", pool=name, reason=error.reason, error=str(error))
            self._problems[name] = str(error)
            if not error.retryable:
                self._ready.pop(name, None)
            return
        self._problems.pop(name, None)
        self._ready[name] = info

    def names(self) -> Collection[str]:
        """The pools that are ready."""
        return self._ready.keys()

    def unready(self) -> Collection[str]:
        """The pools that have an object and are not ready, on a file system that is away for example."""
        return self._problems.keys() - self._ready.keys()

    def directory_of(self, pool_name: str) -> Path:
        """The pool's directory.

        Raises:
            PoolUnavailable: it is not ready here.
        """
        if pool_name in self._ready:
            return self._ready[pool_name].path
        why = self._problems.get(pool_name, "there is no StoragePool of that name")
        raise PoolUnavailable(f"the storage pool {pool_name} is not ready on this node: {why}")

    @property
    def shared(self) -> frozenset[str]:
        """Pools in which other nodes, too, have their disks."""
        return self._shared

    def capacities(self) -> dict[str, int]:
        """Bytes that each ready pool has in all."""
        return {name: info.capacity for name, info in self._ready.items()}

    def reports(self) -> tuple[HypervisorPool, ...]:
        """What the Hypervisor says of each pool."""
        names = sorted(self._ready.keys() | self._problems.keys())
        capacities = self.capacities()
        return tuple(
            HypervisorPool(
                name=name,
                capacity=from_bytes(capacities.get(name, 0)),
                ready=name in self._ready,
                message="" if name in self._ready else self._problems[name],
            )
            for name in names
        )
