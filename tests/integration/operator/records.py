"""What the API server told of VMs and of the operator's Lease, in its own order, and what it should never have told.

One watch tells of all VMs in the order of their changes, so the sums of claims here are those that really stood on the
nodes at each moment, not those of a moment when somebody looked. It is a ledger of its own: it shares no code with the
operator's or the hollow nodes'.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from berth_api import kinds
from berth_api.allocatable import Amounts
from berth_api.client import ApiClient, ObjectList, Reflector, WatchEvent
from berth_api.fields import OPERATOR_LEASE, SYSTEM_NAMESPACE
from berth_api.kinds import Kind
from berth_api.quantities import to_bytes, to_millis


@dataclass(frozen=True)
class Binding:
    """A claim, as it was first seen. CPU in millicores, memory in bytes."""

    vm: str
    uid: str
    node: str
    claim_id: str
    epoch: int
    version: int
    cpu: int
    memory: int


@dataclass(frozen=True)
class Term:
    """An epoch of the operator's Lease: whose it was, the resource version at which it began, and when it began."""

    epoch: int
    holder: str
    version: int
    acquired: datetime


def status(vm: Mapping[str, Any]) -> Mapping[str, Any]:
    """The VM's status, empty where it has none."""
    found: Mapping[str, Any] = vm.get("status") or {}
    return found


def held(vm: Mapping[str, Any]) -> str:
    """Id of the claim that the VM holds: bound, and neither refused nor released."""
    claim = status(vm).get("claim")
    if not claim or not status(vm).get("nodeName"):
        return ""
    answered = (status(vm).get("refusedClaim"), status(vm).get("releasedClaim"))
    return "" if claim["id"] in answered else claim["id"]


def reason(vm: Mapping[str, Any]) -> tuple[str, str]:
    """Reason and message of the condition Scheduled, where it is False and the VM has no node."""
    if status(vm).get("nodeName"):
        return "", ""
    conditions = status(vm).get("conditions") or []
    found = [one for one in conditions if one["type"] == "Scheduled" and one["status"] == "False"]
    return (found[0]["reason"], found[0]["message"]) if found else ("", "")


class Record:
    """All VMs as they are, all claims there ever were, and every rule that was broken.

    Attributes:
        machines: VMs by name.
        bindings: All claims, in the order in which they came.
        terms: Epochs of the operator's Lease.
        renewed: When the leader of each epoch renewed the Lease for the last time, by its own word.
        faults: Rules that were broken, in words.
        on_binding: Called with each new claim, at once.
    """

    def __init__(self, room: Mapping[str, Amounts]) -> None:
        """Start with nothing.

        Args:
            room: What may be claimed of each node; others have none.
        """
        self._room = room
        self.machines: dict[str, Mapping[str, Any]] = {}
        self.bindings: list[Binding] = []
        self.terms: dict[int, Term] = {}
        self.renewed: dict[int, datetime] = {}
        self.faults: list[str] = []
        self.on_binding: Callable[[Binding], None] = lambda _binding: None
        self._claims: dict[str, Binding] = {}
        self._taken: dict[str, Counter[str]] = {}
        self._changed = asyncio.Event()
        self._listing = False

    @property
    def bound(self) -> dict[str, str]:
        """Nodes of VMs that hold a claim."""
        return {name: status(vm)["nodeName"] for name, vm in self.machines.items() if held(vm)}

    @property
    def running(self) -> dict[str, str]:
        """Nodes of VMs that run."""
        return {name: node for name, node in self.bound.items() if status(self.machines[name])["phase"] == "Running"}

    @property
    def waiting(self) -> dict[str, str]:
        """Messages of VMs that say why they have no node."""
        told = {name: reason(vm) for name, vm in self.machines.items()}
        return {name: message for name, (why, message) in told.items() if why == "Unschedulable"}

    async def until(self, holds: Callable[[], bool], within: float) -> None:
        """Wait for something that changes of VMs, or of the Lease, bring about.

        Raises:
            AssertionError: It did not come in so many seconds.
        """
        try:
            async with asyncio.timeout(within):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not within {within} s; by now: {self}") from None

    async def settled(self, *, running: int, waiting: int, within: float = 120.0) -> None:
        """Wait until so many VMs run, and so many say why not, which is all there are."""
        await self.until(
            lambda: (
                len(self.machines) == running + waiting
                and len(self.running) == running
                and len(self.waiting) == waiting
            ),
            within,
        )

    async def told(self, message: str, within: float = 60.0) -> None:
        """Wait until all that wait say this, word for word."""
        try:
            await self.until(lambda: set(self.waiting.values()) == {message}, within)
        except AssertionError as error:
            raise AssertionError(f"{error}; they say {set(self.waiting.values())}") from None

    def __str__(self) -> str:
        phases = Counter(status(vm).get("phase", "without a word") for vm in self.machines.values())
        terms = ", ".join(f"{term.epoch}: {term.holder}" for term in self.terms.values())
        return f"{len(self.machines)} VMs {dict(phases)}, epochs {terms}, {len(self.faults)} faults {self.faults[:5]}"

    def late(self) -> list[Binding]:
        """Claims of an epoch that nobody led in, or that came when it was over."""
        return [
            binding
            for binding in self.bindings
            if (term := self.terms.get(binding.epoch)) is None
            or binding.version < term.version
            or any(other.version < binding.version for epoch, other in self.terms.items() if epoch > binding.epoch)
        ]

    def upsert(self, body: Mapping[str, Any]) -> None:
        """A VM is this now."""
        metadata = body["metadata"]
        name, version = metadata["name"], int(metadata["resourceVersion"])
        before = self.machines.get(name)
        if before is not None and int(before["metadata"]["resourceVersion"]) >= version:
            return
        if before is not None and before["metadata"]["uid"] != metadata["uid"]:
            self.remove(before)
            before = None
        self.machines[name] = body
        self._follow(before, body, version)
        self._changed.set()

    def remove(self, body: Mapping[str, Any]) -> None:
        """A VM is gone."""
        known = self.machines.get(body["metadata"]["name"])
        if known is None or known["metadata"]["uid"] != body["metadata"]["uid"]:
            return
        del self.machines[body["metadata"]["name"]]
        self._give_back(held(known))
        self._changed.set()

    def begin_list(self) -> None:
        """What comes now, until `replace`, is in no order, and not judged."""
        self._listing = True

    def replace(self, listed: ObjectList) -> None:
        """These are all VMs."""
        there = {body["metadata"]["uid"] for body in listed.items}
        for body in [vm for vm in self.machines.values() if vm["metadata"]["uid"] not in there]:
            if int(body["metadata"]["resourceVersion"]) <= int(listed.resource_version):
                self.remove(body)
        self._listing = False
        for node in self._taken:
            self._judge(node, "a list")

    def note_lease(self, body: Mapping[str, Any]) -> None:
        """The operator's Lease is this now."""
        spec, epoch = body["spec"], int(body["spec"].get("leaseTransitions") or 0)
        if epoch not in self.terms:
            acquired = datetime.fromisoformat(spec["acquireTime"])
            version = int(body["metadata"]["resourceVersion"])
            self.terms[epoch] = Term(epoch, spec.get("holderIdentity", ""), version, acquired)
        self.renewed[epoch] = datetime.fromisoformat(spec["renewTime"])
        self._changed.set()

    def _follow(self, before: Mapping[str, Any] | None, after: Mapping[str, Any], version: int) -> None:
        claim, node = status(after).get("claim"), status(after).get("nodeName", "")
        if bool(claim) != bool(node):
            self.faults.append(f"{after['metadata']['name']} has a node or a claim, but not both")
        had, has = held(before) if before else "", held(after)
        if had and claim and claim["id"] != had:
            self.faults.append(f"{after['metadata']['name']} was bound again while its claim {had} stood")
        if had != has:
            self._give_back(had)
        if claim and node:
            self._enter(after, claim, node, version)
        if has and had != has:
            self._take(has)

    def _enter(self, vm: Mapping[str, Any], claim: Mapping[str, Any], node: str, version: int) -> None:
        metadata = vm["metadata"]
        known = self._claims.get(claim["id"])
        if known is not None:
            if (known.uid, known.node) != (metadata["uid"], node):
                self.faults.append(f"claim {claim['id']} of {metadata['name']} went from {known.node} to {node}")
            return
        binding = Binding(
            vm=metadata["name"],
            uid=metadata["uid"],
            node=node,
            claim_id=claim["id"],
            epoch=claim["epoch"],
            version=version,
            cpu=to_millis(claim["cpu"]),
            memory=to_bytes(claim["memory"]),
        )
        self._claims[binding.claim_id] = binding
        self.bindings.append(binding)
        self.on_binding(binding)

    def _take(self, claim_id: str) -> None:
        binding = self._claims[claim_id]
        self._taken.setdefault(binding.node, Counter()).update({"cpu": binding.cpu, "memory": binding.memory})
        self._judge(binding.node, binding.vm)

    def _give_back(self, claim_id: str) -> None:
        binding = self._claims.get(claim_id)
        if binding is not None:
            self._taken[binding.node].subtract({"cpu": binding.cpu, "memory": binding.memory})

    def _judge(self, node: str, last: str) -> None:
        taken, room = self._taken[node], self._room.get(node, Amounts())
        if not self._listing and (taken["cpu"] > room.cpu or taken["memory"] > room.memory):
            self.faults.append(f"{node} is over capacity since {last}: {dict(taken)} of {room}")


class _Marked:
    """The API server, for one who must know what is a list's and what is a watch's."""

    def __init__(self, api: ApiClient, record: Record) -> None:
        self._api, self._record = api, record

    async def list(
        self, kind: Kind, namespace: str = "", *, field_selector: str = "", label_selector: str = ""
    ) -> ObjectList:
        listed = await self._api.list(kind, namespace, field_selector=field_selector, label_selector=label_selector)
        self._record.begin_list()
        return listed

    def watch(self, kind: Kind, namespace: str = "", **options: Any) -> AsyncGenerator[WatchEvent, None]:
        return self._api.watch(kind, namespace, **options)


class _Leases:
    """The sink of the watch of the operator's Lease."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def upsert(self, body: Mapping[str, Any]) -> None:
        self._record.note_lease(body)

    def remove(self, body: Mapping[str, Any]) -> None:
        """Nobody leads; the next one that does makes a new Lease."""

    def replace(self, listed: ObjectList) -> None:
        """What it names was told already."""


@asynccontextmanager
async def recording(api: ApiClient, room: Mapping[str, Amounts]) -> AsyncIterator[Record]:
    """A record of all that happens from now on, on nodes with so much room."""
    record = Record(room)
    machines = Reflector(_Marked(api, record), kinds.VIRTUAL_MACHINE, record)
    lease = Reflector(
        api,
        kinds.LEASE,
        _Leases(record),
        namespace=SYSTEM_NAMESPACE,
        field_selector=f"metadata.name={OPERATOR_LEASE}",
    )
    tasks = [asyncio.create_task(each.run()) for each in (machines, lease)]
    try:
        await asyncio.gather(machines.synced.wait(), lease.synced.wait())
        yield record
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
