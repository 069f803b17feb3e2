"""Where disks lie on this node, as far as disks need to know."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from berth_agent.storage.errors import PoolUnavailable


class Pools(Protocol):
    """The storage pools of this node."""

    def names(self) -> Collection[str]:
        """The pools whose directories are on this node."""
        ...

    def unready(self) -> Collection[str]:
        """The pools that this node should have and cannot look into: disks may lie there."""
        ...

    def directory_of(self, pool_name: str) -> Path:
        """The pool's directory, absolute.

        Raises:
            PoolUnavailable: this node does not have the pool, or it is not ready.
        """
        ...


@dataclass(frozen=True)
class PoolDirectories:
    """Pools that are known by their directories."""

    directories: Mapping[str, Path]

    def names(self) -> Collection[str]:
        """See `Pools`."""
        return self.directories.keys()

    def unready(self) -> Collection[str]:
        """None: see `Pools`."""
        return ()

    def directory_of(self, pool_name: str) -> Path:
        """See `Pools`."""
        try:
            return self.directories[pool_name]
        except KeyError:
            known = ", ".join(sorted(self.directories)) or "none"
            raise PoolUnavailable(f"this node has no storage pool {pool_name!r} (it has: {known})") from None
