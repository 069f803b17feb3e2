"""Random clusters and requests, small and of few words, so that they meet; and snapshots of them.

Hypothesis draws how many nodes, VMs and requests there are and which kinds of wishes they may have, and shrinks these;
the rest follows from a seed, a part at a time, so that leaving out one VM changes no other. (Drawn value by value, a
cluster took fifty times as long to make as to check.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from hypothesis import strategies as st
from tests.unit.operator.scheduling.reference import World

from berth_api.allocatable import Amounts
from berth_operator.scheduling.groups import Group, Member, Spread, Term, Weighted
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.nodes import HeldImage, NodeFacts, Taint
from berth_operator.scheduling.requests import Claimant, Request, Requirements, Tolerance
from berth_operator.scheduling.selectors import NodeTerm, Requirement, Selector, labels_of
from berth_operator.scheduling.snapshot import Reservation, Snapshot

T = TypeVar("T")
MIB, GIB = 1024**2, 1024**3
NAMES = tuple(f"node-{letter}" for letter in "hgfedcba")
"""Not in their order, so that the order of rows is not that of names."""
NAMESPACES = ("blue", "green", "red")
POOLS = ("local", "nfs")
IMAGES = ("sha256:1", "sha256:2", "sha256:3")
IMAGE_SIZES = (2**20, 300 * 2**20, 2 * 2**30)
SOFT = ("preferredNodes", "preferredVMs", "softSpread", "tolerations", "images")
HARD = (
    *("pin", "nodeSelector", "nodeAffinity", "excluded", "model", "features", "machineType", "firmware", "networks"),
    *("sealed", "volumes", "pools", "vmAffinity", "vmAntiAffinity", "spread", "reservations"),
)
KINDS = (*SOFT, *HARD)
"""What a request may wish."""


class Dice(Random):
    """Chance, with the words that the builders below use."""

    def some(self, values: Sequence[T], least: int = 0, most: int = 2) -> tuple[T, ...]:
        return tuple(self.sample(values, min(len(values), self.randint(least, most))))

    def chance(self, share: float) -> bool:
        return self.random() < share

    def quarters(self, most: int, least: int = 0) -> int:
        """Bytes: a number of quarters of a GiB."""
        return self.randint(least, most) * GIB // 4

    def halves(self, most: int) -> int:
        """Millicores: a number of half cores."""
        return self.randint(0, most) * 500

    def labels(self) -> dict[str, str]:
        """Labels of a VM or a namespace."""
        return {key: self.choice("xy") for key in self.some(("app", "tier"))}

    def pools(self, most: int) -> dict[str, int]:
        return {name: self.quarters(most) for name in self.some(POOLS)}

    def selector(self) -> Selector | None:
        if self.chance(0.5):
            return Selector((Requirement("app", "In", (self.choice("xy"),)),))
        return Selector(tuple(self.expression() for _ in range(self.randint(0, 2)))) if self.chance(0.8) else None

    def expression(self) -> Requirement:
        key, operator = self.choice(("app", "tier")), self.choice(("In", "NotIn", "Exists", "DoesNotExist"))
        return Requirement(key, operator, self.some("xy", 1) if operator.endswith("In") else ())

    def group(self) -> Group:
        if self.chance(0.6):
            return Group(self.selector(), frozenset(self.some(NAMESPACES, 1, 3)))
        return Group(self.selector(), frozenset(self.some(NAMESPACES, 0, 1)), self.selector())

    def term(self) -> Term:
        return Term(self.group(), self.choice(("zone", "rack")))

    def terms(self, most: int = 2) -> tuple[Term, ...]:
        return tuple(self.term() for _ in range(self.randint(1, most)))

    def weighted(self) -> tuple[Weighted, ...]:
        return tuple(Weighted(self.choice((-100, -7, -1, 1, 7, 100)), term) for term in self.terms(3))

    def spreads(self, namespace: str) -> tuple[Spread, ...]:
        return tuple(
            Spread(
                Group(self.selector(), frozenset({namespace})),
                self.choice(("zone", "rack")),
                self.randint(1, 3),
                self.choice((1, 1, 2, 3, 4)),
            )
            for _ in range(self.randint(1, 2))
        )

    def node_expression(self) -> Requirement:
        match self.randint(0, 2):
            case 0:
                return Requirement("zone", self.choice(("In", "NotIn")), self.some(("a", "b", ""), 1))
            case 1:
                return Requirement(self.choice(("zone", "rack", "cores")), self.choice(("Exists", "DoesNotExist")))
        return Requirement("cores", self.choice(("Gt", "Lt")), (self.choice(("4", "8", "-1")),))

    def node_term(self) -> NodeTerm:
        fields = (Requirement("metadata.name", self.choice(("In", "NotIn")), self.some(NAMES, 1, 4)),)
        expressions = tuple(self.node_expression() for _ in range(self.randint(0, 2)))
        return NodeTerm(expressions, fields if self.chance(0.25) else ())

    def node_labels(self) -> dict[str, str]:
        labels = {
            "zone": self.choice(("a", "b", "")),
            "rack": self.choice("12345"),
            "cores": self.choice(("4", "16", "1_6", "+8", "99999999999999999999", "many")),
        }
        return {key: value for key, value in labels.items() if self.chance(0.85)}

    def taints(self, *effects: str) -> tuple[Taint, ...]:
        keys = "gpu", "old", "node.kubernetes.io/not-ready", "node.kubernetes.io/memory-pressure"
        return tuple(Taint(key, self.choice(("", "yes")), self.choice(effects)) for key in self.some(keys, 0, 3))

    def tolerance(self) -> Tolerance:
        effect = self.choice(("", "", "NoSchedule", "NoExecute", "PreferNoSchedule"))
        if self.chance(0.5):
            return Tolerance(self.choice(("", "gpu", "old")), "Exists", "", effect)
        return Tolerance(self.choice(("gpu", "old")), "Equal", self.choice(("", "yes")), effect)

    def claimant(self) -> Claimant:
        name = self.choice(("vm-1", "vm-2", "vm-3"))
        return Claimant(f"uid-{name}", ("blue", name), self.randint(0, 1), float(self.randint(1, 2)))

    def images(self) -> frozenset[HeldImage]:
        return frozenset(HeldImage(digest, self.choice(IMAGE_SIZES)) for digest in self.some(IMAGES, 0, 3))


def node(dice: Dice, name: str) -> NodeFacts:
    """A node that lacks this or that."""
    firmware = frozenset(dice.some(("EFI", "SecureBoot")))
    return NodeFacts(
        name=name,
        allocatable=Amounts(cpu=dice.halves(16), memory=dice.quarters(32), pools=dice.pools(32)),
        slots=dice.randint(0, 5),
        accelerator=dice.choice(("kvm", "kvm", "kvm", "tcg", "tcg", "tcg", "")),
        schedulable=dice.chance(0.9),
        libvirt=dice.chance(0.95),
        labels=dice.node_labels(),
        taints=dice.taints("NoSchedule", "NoExecute", "PreferNoSchedule") if dice.chance(0.3) else (),
        cpu_models=frozenset(dice.some(("EPYC", "Haswell"))),
        cpu_features=frozenset(dice.some(("avx", "sgx"))),
        machine_types=frozenset(dice.some(("pc", "q35"))),
        firmware=firmware,
        failing_networks=dict.fromkeys(dice.some(("lan", "wan")), "no such plugin") if dice.chance(0.3) else {},
        images=dice.images(),
        public_key=dice.choice(("", "key")),
    )


def gentle_node(dice: Dice, name: str) -> NodeFacts:
    """A node that turns nobody down, so that scores decide."""
    return NodeFacts(
        name=name,
        allocatable=Amounts(dice.randint(20, 24) * 1000, dice.randint(70, 90) * GIB, dict.fromkeys(POOLS, 500 * GIB)),
        accelerator=dice.choice(("kvm", "tcg")),
        labels=dice.node_labels(),
        taints=dice.taints("PreferNoSchedule"),
        images=dice.images(),
    )


def member(dice: Dice, kinds: frozenset[str], eager: float = 0.5) -> Member:
    """A VM with labels and, as a rule or now and then, terms of its own; many of them name itself."""
    namespace, labels = dice.choice(NAMESPACES), dice.labels()
    own = tuple(Requirement(key, "In", (value,)) for key, value in labels.items())
    itself = Group(Selector(own[: dice.randint(0, 2)]), frozenset({namespace}))

    def terms() -> tuple[Term, ...]:
        return tuple(Term(itself, term.topology_key) if dice.chance(0.5) else term for term in dice.terms())

    return Member(
        namespace,
        labels_of(labels),
        affinity=terms() if "vmAffinity" in kinds and dice.chance(eager) else (),
        anti_affinity=terms() if "vmAntiAffinity" in kinds and dice.chance(eager) else (),
        preferred=dice.weighted() if "preferredVMs" in kinds and dice.chance(eager) else (),
    )


def requirements(dice: Dice, kinds: frozenset[str]) -> Requirements:
    """What is asked of the nodes themselves."""
    preferred = tuple((dice.randint(1, 100), dice.node_term()) for _ in range(dice.randint(1, 3)))
    affinity = tuple(dice.node_term() for _ in range(dice.randint(1, 2)))
    volumes = tuple(frozenset(dice.some(NAMES, 2, 8)) for _ in range(dice.randint(1, 2)))
    model = dice.choice(("host-model", "maximum", "EPYC", "Haswell", "host-passthrough"))
    return Requirements(
        node_name=dice.choice(NAMES) if "pin" in kinds else "",
        node_selector=labels_of(dict(dice.some(tuple(dice.node_labels().items())))) if "nodeSelector" in kinds else (),
        node_affinity=affinity if "nodeAffinity" in kinds else None,
        preferred_nodes=preferred if "preferredNodes" in kinds else (),
        tolerations=tuple(dice.tolerance() for _ in range(2)) if "tolerations" in kinds else (),
        networks=frozenset(dice.some(("lan", "wan"))) if "networks" in kinds else frozenset(),
        cpu_model=model if "model" in kinds else "",
        cpu_features=frozenset(dice.some(("avx", "sgx"))) if "features" in kinds else frozenset(),
        machine_type=dice.choice(("pc", "q35")) if "machineType" in kinds else "",
        firmware=frozenset(("EFI", "SecureBoot")[: dice.randint(1, 2)]) if "firmware" in kinds else frozenset(),
        images=frozenset(dice.some(IMAGES, 1, 3)) if "images" in kinds else frozenset(),
        volume_nodes=volumes if "volumes" in kinds else (),
        sealed="sealed" in kinds,
    )


def request(dice: Dice, kinds: frozenset[str]) -> Request:
    """A VM's request."""
    itself = member(dice, kinds, eager=0.8)
    return Request(
        cpu=dice.halves(4),
        memory_kvm=dice.quarters(8),
        memory_tcg=dice.quarters(9, 1),
        pools=tuple(sorted(dice.pools(8).items())) if "pools" in kinds else (),
        requirements=requirements(dice, kinds),
        member=itself,
        spread=dice.spreads(itself.namespace) if "spread" in kinds else (),
        soft_spread=dice.spreads(itself.namespace) if "softSpread" in kinds else (),
        excluded=frozenset(dice.some(NAMES, 0, 4)) if "excluded" in kinds else frozenset(),
        claimant=dice.claimant(),
    )


def holding(dice: Dice, uid: str, kinds: frozenset[str]) -> Holding:
    """What one VM holds, on a node that may not be there."""
    return Holding(
        uid=uid,
        owner=f"blue/{uid}",
        claim_id=f"claim-{uid}",
        node=dice.choice(NAMES),
        cpu=dice.halves(2),
        memory=dice.quarters(4),
        pools=dice.pools(4),
        member=member(dice, kinds),
    )


def reservation(dice: Dice) -> Reservation:
    """Room that is kept."""
    return Reservation(dice.claimant(), dice.halves(4), dice.quarters(8), dice.pools(8))


@dataclass(frozen=True)
class Scene:
    """A seed and what may come of it."""

    seed: int
    kinds: frozenset[str]
    nodes: int
    placed: int
    gentle: bool = False

    def dice(self, part: object) -> Dice:
        return Dice(f"{self.seed}/{part}")

    def request(self, number: int = 0) -> Request:
        return request(self.dice(("request", number)), self.kinds)

    def node(self, number: int, edition: int = 0) -> NodeFacts:
        """A node, as it is or as it might become."""
        make = gentle_node if self.gentle else node
        return make(self.dice(("node", number, edition)), NAMES[number])

    def world(self) -> World:
        dice = self.dice("world")
        kept = "reservations" in self.kinds
        return World(
            nodes=tuple(self.node(number) for number in range(self.nodes)),
            ready=frozenset(name for name in NAMES if name == NAMES[0] or dice.chance(0.8)),
            namespaces={name: dice.labels() for name in NAMESPACES if dice.chance(0.8)},
            failures={name: dice.randint(0, 3) for name in NAMES if dice.chance(0.5)},
            migrations={name: dice.randint(0, 3) for name in NAMES if dice.chance(0.5)},
            reservations={name: reservation(dice) for name in NAMES if dice.chance(0.5) and kept},
            shared_pools=frozenset(dice.some(POOLS, 0, 1)),
            holdings=tuple(self.holding(number) for number in range(self.placed)),
        )

    def holding(self, number: int) -> Holding:
        return holding(self.dice(("vm", number)), f"vm{number}", self.kinds)


def scenes(kinds: Sequence[str] = KINDS, *, gentle: bool = False) -> st.SearchStrategy[Scene]:
    """Up to 8 nodes and 15 VMs, with wishes of these kinds."""
    return st.builds(
        Scene,
        seed=st.integers(0, 2**32),
        kinds=st.frozensets(st.sampled_from(kinds)),
        nodes=st.integers(1 if gentle else 0, len(NAMES)),
        placed=st.integers(0, 15),
        gentle=st.just(gentle),
    )


def snapshot_of(world: World, order: Iterable[NodeFacts] | None = None) -> Snapshot:
    """The snapshot of a world, its nodes told in this order."""
    snapshot = Snapshot(world.shared_pools)
    for facts in world.nodes if order is None else order:
        snapshot.upsert(facts)
        snapshot.set_ready(facts.name, ready=facts.name in world.ready)
        snapshot.set_failures(facts.name, world.failures.get(facts.name, 0))
        snapshot.set_migrations(facts.name, world.migrations.get(facts.name, 0))
    for name, labels in world.namespaces.items():
        snapshot.name_space(name, labels)
    for each in world.holdings:
        snapshot.take(each)
    snapshot.reserve(world.reservations)
    return snapshot
