"""Two operators that contend for one Lease, and a batch of VMs in the middle of which the leader is struck."""

import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from types import MappingProxyType
from typing import Any

from tests.integration.operator.crowds import apart, create, nodes, room_of, vm_body
from tests.integration.operator.records import Binding, Record, held, recording, status
from tests.integration.operator.worlds import World

from berth_dev.hollow.nodes import HollowNodes

LEASE = {"lease_duration": "5", "lease_renew_deadline": "4", "lease_retry": "0.3"}
VMS, NODES, SLOTS = 300, 30, 7
ROOM = NODES * SLOTS
"""VMs that fit on all nodes together."""
GROUP = "db"
"""Every fourth VM is of this group, and wants a node without another one of it."""
NEVER = 3600.0


def is_admitted(vm: Mapping[str, Any]) -> bool:
    """Whether the node has taken what the VM holds."""
    return held(vm) == status(vm).get("admittedClaim")


def in_group(vm: Mapping[str, Any]) -> bool:
    """Whether the VM is one of those that keep apart."""
    return bool(vm["metadata"].get("labels", {}).get("app") == GROUP)


@dataclass
class Contest:
    """Nodes, a record of what happens, and two operators by name, one of which leads."""

    world: World
    hollow: HollowNodes
    record: Record
    operators: "dict[str, subprocess.Popen[bytes]]"
    struck: Binding | None = None
    """The last claim that was seen when a leader was struck."""
    freed: int = 0
    """Claims that were released since the beginning."""
    struck_at: datetime | None = None
    followed_at: datetime | None = None
    """When the first claim of a later epoch was seen."""

    async def strike(self, number: signal.Signals, random: Random) -> None:
        """Create a batch of VMs, and send the leader a signal at the moment at which some claims have been seen.

        Many are being written then. The last VMs come after that, so that there is some room left for them.
        """
        after = random.randint(20, 120)

        def count(binding: Binding) -> None:
            if self.struck is not None and self.followed_at is None and binding.epoch > self.struck.epoch:
                self.followed_at = datetime.now(UTC)
            if len(self.record.bindings) == after:
                self.struck, self.struck_at = binding, datetime.now(UTC)
                self.operators[self.record.terms[binding.epoch].holder].send_signal(number)

        self.record.on_binding = count
        bodies = [vm_body(f"vm-{n:03}", **(apart(GROUP) if n % 4 == 0 else {})) for n in range(VMS)]
        await create(self.world, bodies[: after + 50])
        await self.record.until(lambda: self.struck is not None, 60)
        await create(self.world, bodies[after + 50 :])

    @property
    def victim(self) -> str:
        """Who was struck."""
        assert self.struck is not None
        return self.record.terms[self.struck.epoch].holder

    @property
    def other(self) -> str:
        """Who was not."""
        return next(name for name in self.operators if name != self.victim)

    def claims(self) -> tuple[set[str], set[str]]:
        """Ids of claims up to the epoch in which the leader was struck, and of those since then."""
        assert self.struck is not None
        early = {each.claim_id for each in self.record.bindings if each.epoch <= self.struck.epoch}
        return early, {each.claim_id for each in self.record.bindings} - early

    async def placed(self) -> None:
        """Wait until every VM has a berth or says why not, and all claims are admitted."""
        record = self.record
        await record.until(
            lambda: (
                len(record.bound) == ROOM
                and len(record.bound) + len(record.waiting) == len(record.machines)
                and all(is_admitted(record.machines[name]) for name in record.bound)
            ),
            120,
        )

    def check(self) -> None:
        """What must hold, whoever led when. A node may refuse what a former leader bound just before its end."""
        assert self.record.faults == []
        members = [node for name, node in self.record.bound.items() if in_group(self.record.machines[name])]
        assert len(set(members)) == len(members) > 0
        assert self.record.late() == []
        assert self.hollow.report.violations == []
        assert self.hollow.report.refused.keys() <= {"StaleEpoch"}
        again = self.hollow.report.refused.get("StaleEpoch", 0)
        assert len(self.record.bindings) == ROOM + self.freed + again


@asynccontextmanager
async def contest(world: World, lease: Mapping[str, str] = MappingProxyType(LEASE)) -> AsyncIterator[Contest]:
    """Two operators at the beginning, the one called first in the lead.

    Args:
        world: Where.
        lease: The operators' settings.
    """
    options = nodes(NODES, slots=SLOTS, boot_delay=NEVER)
    operators = {"first": world.operate(identity="first", **lease)}
    await world.leading(operators["first"])
    operators["second"] = world.operate(identity="second", **lease)
    async with HollowNodes(world.api, options) as hollow, recording(world.api, room_of(options)) as record:
        yield Contest(world, hollow, record, operators)
