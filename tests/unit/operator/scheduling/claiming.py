"""An API server and leaders in memory, as far as claims are concerned: what the state machine of claims plays with.

The real store, ledger, snapshot and place() are at work; the server has resource versions, UIDs and the fence by epoch.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.unit.operator.scheduling.clusters import GIB, Dice

from berth_api import kinds
from berth_api.allocatable import Amounts
from berth_api.client import ObjectList
from berth_operator.scheduling.groups import Group, Member, Term
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.ledger import Ledger
from berth_operator.scheduling.nodes import NodeFacts
from berth_operator.scheduling.place import Placement, place
from berth_operator.scheduling.requests import Request
from berth_operator.scheduling.selectors import Requirement, Selector
from berth_operator.scheduling.snapshot import Snapshot
from berth_operator.store import Change, Collection

Body = Mapping[str, Any]
NODES = tuple(
    NodeFacts(
        name,
        Amounts(cpu, memory * GIB, {"local": 4 * GIB, "nfs": 3 * GIB}),
        slots=slots,
        accelerator="tcg",
        labels={"host": name},
    )
    for name, cpu, memory, slots in (("a", 1500, 3, 9), ("b", 2000, 1, 9), ("c", 2000, 2, 2))
)
SHARED = ("nfs",)
APART = Term(Group(Selector((Requirement("app", "In", ("db",)),)), frozenset({"ns"})), "host")


def wish(seed: int, excluded: frozenset[str]) -> Request:
    """What a VM asks for: two of three are databases, and every second one keeps away from all databases."""
    dice = Dice(seed)
    labels = (("app", "db"),) if seed % 3 else ()
    member = Member("ns", labels, anti_affinity=(APART,) if seed % 2 == 0 else ())
    cpu, memory = dice.randint(1, 4) * 200, dice.quarters(3, 1)
    pools = {name: dice.quarters(8, 1) for name in dice.some(("local", "nfs"))}
    return Request(cpu, memory, memory, tuple(sorted(pools.items())), member=member, excluded=excluded)


class Recorder(Snapshot):
    """A snapshot that remembers how often each claim was taken and given back."""

    def __init__(self) -> None:
        super().__init__(SHARED)
        self.counts: Counter[object] = Counter()
        for facts in NODES:
            self.upsert(facts)
            self.set_ready(facts.name, ready=True)

    def take(self, holding: Holding) -> None:
        self.counts[holding.key] += 1
        assert self.counts[holding.key] == 1, "a claim counts twice"
        super().take(holding)

    def give_back(self, holding: Holding) -> None:
        self.counts[holding.key] -= 1
        assert self.counts[holding.key] == 0, "a claim was released that did not count"
        super().give_back(holding)


@dataclass
class Write:
    """A binding on its way: decided on a version, by a leader of an epoch."""

    leader: "Leader"
    epoch: int
    name: str
    uid: str
    version: int
    holding: Holding
    outcome: Body | None = None
    arrived: bool = False


@dataclass
class Server:
    """The API server: VMs by name, one counter of versions, and the Lease's epoch."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = 0
    epoch: int = 0
    made: int = 0

    def create(self, name: str) -> Body:
        self.made += 1
        return self._store(name, f"uid-{self.made}", {"seed": self.made, "holding": None, "excluded": frozenset()})

    def change(self, name: str, **values: Any) -> Body:
        return self._store(name, self.objects[name]["metadata"]["uid"], {**self.objects[name], **values})

    def edit(self, name: str) -> Body:
        """The user makes another VM of it: other labels, other wishes."""
        self.made += 1
        return self.change(name, seed=self.made)

    def delete(self, name: str) -> Body:
        self.version += 1
        gone = self.objects.pop(name)
        return {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}

    def bind(self, write: Write) -> Body | None:
        """The write is done, or refused: the VM is another or has changed, or its writer no longer leads."""
        known = self.objects.get(write.name)
        if known is None or write.epoch < self.epoch:
            return None
        metadata = known["metadata"]
        if (metadata["uid"], metadata["resourceVersion"]) != (write.uid, str(write.version)):
            return None
        member = wish(known["seed"], known["excluded"]).member
        return self.change(write.name, holding=replace(write.holding, member=member))

    def listed(self) -> ObjectList:
        return ObjectList(list(self.objects.values()), str(self.version))

    def holdings(self) -> Iterable[Holding]:
        return [body["holding"] for body in self.objects.values() if body["holding"] is not None]

    def _store(self, name: str, uid: str, values: Mapping[str, Any]) -> Body:
        self.version += 1
        metadata = {"name": name, "uid": uid, "resourceVersion": str(self.version)}
        self.objects[name] = {**values, "metadata": metadata}
        return self.objects[name]


class Leader:
    """One operator process: its store, fed by its watch, and the ledger that follows it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.snapshot = Recorder()
        self.ledger = Ledger(self.snapshot)
        self.store: Collection[Body] = Collection(kinds.VIRTUAL_MACHINE, lambda body: body)
        self.store.listen(self._follow)
        self.events: list[tuple[str, Body]] = []
        self.unsure: set[str] = set()
        self.epoch = 0
        self.decisions = 0

    def _follow(self, change: Change[Body]) -> None:
        body = change.new or change.old
        assert body is not None
        self.ledger.observe(body["metadata"]["uid"], change.new["holding"] if change.new else None)

    def lead(self) -> None:
        """A term begins: the next epoch, a complete list, a ledger that knows nothing else."""
        self.server.epoch += 1
        self.epoch = self.server.epoch
        self.unsure.clear()
        self.store.replace(self.server.listed())
        self.ledger.rebuild(body["holding"] for body in self.store if body["holding"] is not None)

    def waiting(self) -> list[Body]:
        """VMs to decide about, as far as this leader knows."""
        return [
            body
            for body in self.store
            if body["holding"] is None and self.ledger.assumed(body["metadata"]["uid"]) is None
        ]

    def decide(self, body: Body) -> Write | None:
        """Place and assume; None where no node will do."""
        metadata, request = body["metadata"], wish(body["seed"], body["excluded"])
        answer = place(self.snapshot, request)
        if not isinstance(answer, Placement):
            return None
        self.decisions += 1
        claim = f"{self.epoch}-{self.decisions}"
        taken = Holding(
            uid=metadata["uid"],
            owner=f"ns/{metadata['name']}",
            claim_id=claim,
            node=answer.node,
            cpu=request.cpu,
            memory=answer.memory,
            pools=dict(request.pools),
            member=request.member,
        )
        self.ledger.assume(taken)
        return Write(self, self.epoch, metadata["name"], taken.uid, int(metadata["resourceVersion"]), taken)

    def hear(self, write: Write) -> None:
        """The server's answer to a write."""
        if write.outcome is not None:
            self.store.upsert(write.outcome)
        self.ledger.settle(write.uid)

    def find_out(self, name: str, uid: str) -> None:
        """Read the VM of which nobody knows whether its binding was written."""
        body = self.server.objects.get(name)
        if body is not None:
            self.store.upsert(body)
        self.unsure.discard(uid)
        self.ledger.settle(uid)
