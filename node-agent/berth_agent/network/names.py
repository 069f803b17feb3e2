"""Names in the kernel: short, safe, and the same for the same NIC after any restart.

A link's name has at most 15 characters and ends up on command lines, so nothing that a user wrote is ever part of one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

GUEST_LINK = "guest0"
"""The sandbox's end of the veth pair that leads to the tap."""


@dataclass(frozen=True, slots=True)
class LinkNames:
    """The names of one NIC in the agent's network namespace."""

    key: str

    @classmethod
    def of(cls, owner_uid: str, interface: str) -> LinkNames:
        """Derive them from what identifies the NIC: 48 bits, so that a node's few thousand NICs do not collide."""
        return cls(hashlib.sha256(f"{owner_uid}\0{interface}".encode()).hexdigest()[:12])

    @property
    def tap(self) -> str:
        """The device that the guest's NIC is."""
        return f"bt{self.key}"

    @property
    def veth(self) -> str:
        """The agent's end of the veth pair into the sandbox."""
        return f"bv{self.key}"

    def sandbox(self, container_id: str) -> str:
        """Return the network namespace of one incarnation: a plugin that outlived its agent never meets the next."""
        return f"berth-{self.key}-{container_id[:8]}"
