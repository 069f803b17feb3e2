"""The scheduler once more, plain and slow: what the property tests hold the fast one against.

Written from the definitions alone (Kubernetes' for the fields that users know from Pods), with a loop where the fast
one has an array. Of the scheduler it takes the data types and none of their methods, so that no error can hide in both.
Sums and quotients are made in the order of the definitions, so scores must agree to the last bit.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import log

from berth_operator.scheduling.groups import Group, Member, Spread, Term
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.nodes import NodeFacts, Taint
from berth_operator.scheduling.requests import Claimant, Request, Tolerance
from berth_operator.scheduling.selectors import NodeTerm, Requirement, Selector
from berth_operator.scheduling.snapshot import Reservation


@dataclass(frozen=True)
class World:
    """Everything that a decision may look at."""

    nodes: tuple[NodeFacts, ...] = ()
    ready: frozenset[str] = frozenset()
    holdings: tuple[Holding, ...] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    migrations: Mapping[str, int] = field(default_factory=dict)
    reservations: Mapping[str, Reservation] = field(default_factory=dict)
    shared_pools: frozenset[str] = frozenset()


Passes = Callable[[World, Request, NodeFacts], bool]
Rates = dict[str, float]
ANY_MODEL = ("", "host-model", "host-passthrough", "maximum")
IGNORED = ("not-ready", "unreachable", "network-unavailable", "unschedulable")


def requirement_holds(wanted: Requirement, there: Mapping[str, str]) -> bool:
    value = there.get(wanted.key)
    match wanted.operator:
        case "In":
            return value is not None and value in wanted.values
        case "NotIn":
            return value is None or value not in wanted.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    left, right = integer(value), integer(wanted.values[0])
    if left is None or right is None:
        return False
    return left > right if wanted.operator == "Gt" else left < right


def integer(text: str | None) -> int | None:
    """A decimal integer of 64 bits, as Go's strconv.ParseInt reads it."""
    if text is None or not re.fullmatch(r"[+-]?[0-9]+", text):
        return None
    return int(text) if -(2**63) <= int(text) < 2**63 else None


def selector_matches(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    return selector is not None and all(requirement_holds(each, labels) for each in selector.requirements)


def term_matches(term: NodeTerm, node: NodeFacts) -> bool:
    if not term.labels and not term.fields:
        return False
    fields = {"metadata.name": node.name}
    return all(requirement_holds(each, node.labels) for each in term.labels) and all(
        requirement_holds(each, fields) for each in term.fields
    )


def selected(request: Request, node: NodeFacts) -> bool:
    wanted = request.requirements
    if any(node.labels.get(key) != value for key, value in wanted.node_selector):
        return False
    return wanted.node_affinity is None or any(term_matches(term, node) for term in wanted.node_affinity)


def untolerated(request: Request, node: NodeFacts, *effects: str) -> list[Taint]:
    heeded = [
        t for t in node.taints if t.effect in effects and t.key not in [f"node.kubernetes.io/{k}" for k in IGNORED]
    ]
    return [t for t in heeded if not any(tolerates(each, t) for each in request.requirements.tolerations)]


def tolerates(tolerance: Tolerance, taint: Taint) -> bool:
    key = tolerance.key in (taint.key, "") if tolerance.operator == "Exists" else tolerance.key == taint.key
    value = tolerance.operator == "Exists" or tolerance.value == taint.value
    return key and value and tolerance.effect in (taint.effect, "")


def memory_wanted(request: Request, node: NodeFacts) -> int:
    return request.memory_kvm if node.accelerator == "kvm" else request.memory_tcg


def free_cpu(world: World, node: NodeFacts) -> int:
    return node.allocatable.cpu - sum(each.cpu for each in world.holdings if each.node == node.name)


def free_memory(world: World, node: NodeFacts) -> int:
    return node.allocatable.memory - sum(each.memory for each in world.holdings if each.node == node.name)


def free_slots(world: World, node: NodeFacts) -> int:
    return node.slots - len([each for each in world.holdings if each.node == node.name])


def free_storage(world: World, node: NodeFacts, pool: str) -> int | None:
    if pool not in node.allocatable.pools:
        return None
    held = [h.pools.get(pool, 0) for h in world.holdings if h.node == node.name or pool in world.shared_pools]
    return node.allocatable.pools[pool] - sum(held)


def has_storage(world: World, node: NodeFacts, pool: str, wanted: int) -> bool:
    free = free_storage(world, node, pool)
    return free is not None and free >= wanted


def placed(world: World) -> Iterator[tuple[Member, NodeFacts]]:
    """VMs that hold a claim on a node that is there, and that node."""
    by_name = {node.name: node for node in world.nodes}
    for holding in world.holdings:
        if holding.node in by_name:
            yield holding.member, by_name[holding.node]


def belongs(world: World, member: Member, group: Group) -> bool:
    """Whether a VM is one of those that a term names."""
    namespace = member.namespace in group.namespaces or selector_matches(
        group.namespace_selector, world.namespaces.get(member.namespace, {})
    )
    return namespace and selector_matches(group.selector, dict(member.label_pairs))


def same_domain(key: str, one: NodeFacts, other: NodeFacts) -> bool:
    return key in one.labels and key in other.labels and one.labels[key] == other.labels[key]


def near_vms(world: World, request: Request, node: NodeFacts) -> bool:
    """Required vmAffinity: a VM that matches all terms is in the node's domain of each; or it is the first of them."""
    terms = request.member.affinity
    if any(term.topology_key not in node.labels for term in terms):
        return False
    matching = [at for member, at in placed(world) if all(belongs(world, member, term.group) for term in terms)]
    if all(any(same_domain(term.topology_key, node, at) for at in matching) for term in terms):
        return True
    anywhere = any(term.topology_key in at.labels for at in matching for term in terms)
    return not anywhere and all(belongs(world, request.member, term.group) for term in terms)


def away_from_vms(world: World, request: Request, node: NodeFacts) -> bool:
    """Required vmAntiAffinity, of the VM itself and of those that are placed."""
    for member, at in placed(world):
        own = [term for term in request.member.anti_affinity if belongs(world, member, term.group)]
        theirs = [term for term in member.anti_affinity if belongs(world, request.member, term.group)]
        if any(same_domain(term.topology_key, node, at) for term in own + theirs):
            return False
    return True


def has_keys(node: NodeFacts, constraints: Iterable[Spread]) -> bool:
    return all(each.topology_key in node.labels for each in constraints)


def domain_counts(world: World, request: Request, constraint: Spread, constraints: Iterable[Spread]) -> dict[str, int]:
    """VMs of the group in each domain that has a node which the VM selects and which has all keys."""
    nodes = {node.name for node in world.nodes if selected(request, node) and has_keys(node, constraints)}
    key = constraint.topology_key
    counts = {node.labels[key]: 0 for node in world.nodes if node.name in nodes}
    for member, at in placed(world):
        if at.name in nodes and belongs(world, member, constraint.group):
            counts[at.labels[key]] += 1
    return counts


def spreads(world: World, request: Request, node: NodeFacts) -> bool:
    """Hard topologySpreadConstraints."""
    if not has_keys(node, request.spread):
        return False
    for constraint in request.spread:
        counts = domain_counts(world, request, constraint, request.spread)
        least = min(counts.values()) if counts and len(counts) >= constraint.min_domains else 0
        itself = 1 if belongs(world, request.member, constraint.group) else 0
        if counts.get(node.labels[constraint.topology_key], 0) + itself - least > constraint.max_skew:
            return False
    return True


def comes_first(one: Claimant, other: Claimant) -> bool:
    """By priority, then by age, then by name; a VM does not wait for itself."""
    return (-one.priority, one.created, one.key) <= (-other.priority, other.created, other.key)


def unreserved(world: World, request: Request, node: NodeFacts) -> bool:
    kept = world.reservations.get(node.name)
    if kept is None or comes_first(request.claimant, kept.claimant):
        return True
    return (
        free_cpu(world, node) >= request.cpu + kept.cpu
        and free_memory(world, node) >= memory_wanted(request, node) + kept.memory
        and free_slots(world, node) >= 2
        and all(has_storage(world, node, pool, size + kept.pools.get(pool, 0)) for pool, size in request.pools)
    )


FILTERS: dict[str, Passes] = {
    "Pinned": lambda _w, r, n: r.requirements.node_name in ("", n.name),
    "Selected": lambda _w, r, n: selected(r, n),
    "Tolerated": lambda _w, r, n: not untolerated(r, n, "NoSchedule", "NoExecute"),
    "Schedulable": lambda _w, _r, n: n.schedulable,
    "Ready": lambda w, _r, n: n.name in w.ready and n.accelerator != "",
    "Libvirt": lambda _w, _r, n: n.libvirt,
    "NotRefused": lambda _w, r, n: n.name not in r.excluded,
    "CPUModel": lambda _w, r, n: (
        r.requirements.cpu_model in ANY_MODEL or not n.cpu_models or r.requirements.cpu_model in n.cpu_models
    ),
    "CPUFeatures": lambda _w, r, n: all(each in n.cpu_features for each in r.requirements.cpu_features),
    "MachineType": lambda _w, r, n: r.requirements.machine_type in ("", *n.machine_types),
    "Firmware": lambda _w, r, n: all(each in n.firmware for each in r.requirements.firmware),
    "Accelerator": lambda _w, r, n: r.requirements.cpu_model != "host-passthrough" or n.accelerator == "kvm",
    "Networks": lambda _w, r, n: not any(each in n.failing_networks for each in r.requirements.networks),
    "Sealable": lambda _w, r, n: not r.requirements.sealed or n.public_key != "",
    "VolumeNode": lambda _w, r, n: all(n.name in nodes for nodes in r.requirements.volume_nodes),
    "Memory": lambda w, r, n: free_memory(w, n) >= memory_wanted(r, n),
    "CPU": lambda w, r, n: free_cpu(w, n) >= r.cpu,
    "Storage": lambda w, r, n: all(has_storage(w, n, pool, size) for pool, size in r.pools),
    "Slots": lambda w, _r, n: free_slots(w, n) >= 1,
    "VMAffinity": near_vms,
    "VMAntiAffinity": away_from_vms,
    "TopologySpread": spreads,
    "Reserved": unreserved,
}
"""In the order in which a node is given its reason."""


def reasons(world: World, request: Request) -> dict[str, list[str]]:
    """For each node, the filters that turn it down, in their order; the first is its reason."""
    return {
        node.name: [name for name, passes in FILTERS.items() if not passes(world, request, node)]
        for node in world.nodes
    }


def shares(world: World, request: Request, node: NodeFacts) -> tuple[float, float]:
    """Which share of the node's CPU and memory is left after the request."""
    cpu = float(free_cpu(world, node) - request.cpu) / float(max(node.allocatable.cpu, 1))
    memory = float(free_memory(world, node) - memory_wanted(request, node)) / float(max(node.allocatable.memory, 1))
    return cpu, memory


def least_allocated(world: World, request: Request, nodes: list[NodeFacts]) -> Rates:
    left = {node.name: shares(world, request, node) for node in nodes}
    return {name: (cpu + memory) / 2 for name, (cpu, memory) in left.items()}


def most_allocated(world: World, request: Request, nodes: list[NodeFacts]) -> Rates:
    return {name: 1 - rate for name, rate in least_allocated(world, request, nodes).items()}


def balanced(world: World, request: Request, nodes: list[NodeFacts]) -> Rates:
    left = {node.name: shares(world, request, node) for node in nodes}
    return {name: 1 - abs(cpu - memory) for name, (cpu, memory) in left.items()}


def node_affinity(_world: World, request: Request, nodes: list[NodeFacts]) -> Rates:
    terms = request.requirements.preferred_nodes
    raw = {node.name: sum(weight for weight, term in terms if term_matches(term, node)) for node in nodes}
    most = max(raw.values())
    return {name: amount / most for name, amount in raw.items()} if most else {}


def vm_affinity(world: World, request: Request, nodes: list[NodeFacts]) -> Rates:
    raw = dict.fromkeys((node.name for node in nodes), 0)

    def add(term: Term, at: NodeFacts, weight: int) -> None:
        for node in nodes:
            raw[node.name] += weight if same_domain(term.topology_key, node, at) else 0

    for member, at in placed(world):
        for own in request.member.preferred:
            if belongs(world, member, own.term.group):
                add(own.term, at, own.weight)
        for theirs in member.preferred:
            if belongs(world, request.member, theirs.term.group):
                add(theirs.term, at, theirs.weight)
        for term in member.affinity:
            if belongs(world, request.member, term.group):
                add(term, at, 1)
    low, high = min(raw.values()), max(raw.values())
    return {name: (amount - low) / (high - low) for name, amount in raw.items()} if high > low else {}


def soft_spread(world: World, request: Request, nodes: list[NodeFacts]) -> Rates:
    constraints = request.soft_spread
    rated = [node for node in nodes if has_keys(node, constraints)]
    if not constraints or not rated:
        return {}
    raw = dict.fromkeys((node.name for node in rated), 0.0)
    for constraint in constraints:
        key = constraint.topology_key
        counts = domain_counts(world, request, constraint, constraints)
        weight = log(len({node.labels[key] for node in rated}) + 2)
        for node in rated:
            raw[node.name] += counts.get(node.labels[key], 0) * weight + (constraint.max_skew - 1)
    low, high = min(raw.values()), max(raw.values())
    rates = {name: (high + low - amount) / high if high else 1.0 for name, amount in raw.items()}
    return {node.name: rates.get(node.name, 0.0) for node in nodes}


def image_locality(world: World, request: Request, nodes: list[NodeFacts]) -> Rates:
    wanted = request.requirements.images
    if not wanted:
        return {}
    least, most = 23 * 2**20, 1000 * 2**20 * len(wanted)
    totals = dict.fromkeys((node.name for node in nodes), 0.0)
    for digest in sorted(wanted):
        holders = [each for each in world.nodes if size_of(digest, each)]
        for node in nodes:
            totals[node.name] += size_of(digest, node) * (len(holders) / len(world.nodes))
    return {name: (min(max(total, least), most) - least) / (most - least) for name, total in totals.items()}


def size_of(digest: str, node: NodeFacts) -> int:
    return max((image.size for image in node.images if image.digest == digest), default=0)


def fewest(counts: Mapping[str, int]) -> Rates:
    most = max(counts.values())
    return {name: 1 - count / most for name, count in counts.items()} if most else {}


def taint_toleration(_world: World, request: Request, nodes: list[NodeFacts]) -> Rates:
    return fewest({node.name: len(untolerated(request, node, "PreferNoSchedule")) for node in nodes})


SCORES: dict[str, tuple[float, Callable[[World, Request, list[NodeFacts]], Rates]]] = {
    "LeastAllocated": (1, least_allocated),
    "MostAllocated": (0, most_allocated),
    "BalancedAllocation": (1, balanced),
    "NodeAffinity": (2, node_affinity),
    "VMAffinity": (2, vm_affinity),
    "TopologySpread": (2, soft_spread),
    "ImageLocality": (0.1, image_locality),
    "TaintToleration": (3, taint_toleration),
    "BuildFailures": (5, lambda w, _r, nodes: fewest({n.name: w.failures.get(n.name, 0) for n in nodes})),
    "Migrations": (1, lambda w, _r, nodes: fewest({n.name: w.migrations.get(n.name, 0) for n in nodes})),
}
"""Weight by default, and the rates of feasible nodes; no rates: nothing tells the nodes apart."""


def feasible(world: World, request: Request) -> list[NodeFacts]:
    """The nodes that nothing turns down, by name."""
    failing = reasons(world, request)
    return sorted((node for node in world.nodes if not failing[node.name]), key=lambda node: node.name)


def scores(world: World, request: Request) -> dict[str, Rates]:
    """Each score's rate of each feasible node."""
    nodes = feasible(world, request)
    found = {name: rate(world, request, nodes) if nodes else {} for name, (_, rate) in SCORES.items()}
    return {name: rates or dict.fromkeys((node.name for node in nodes), 0.0) for name, rates in found.items()}


def totals(world: World, request: Request, weights: Mapping[str, float] | None = None) -> Rates:
    """The weighed sum of each feasible node; what `weights` does not name weighs as by default."""
    chosen = {name: weight for name, (weight, _) in SCORES.items()} | dict(weights or {})
    sums = dict.fromkeys((node.name for node in feasible(world, request)), 0.0)
    for name, rates in scores(world, request).items():
        for node, rate in rates.items():
            sums[node] += chosen[name] * rate
    return sums


def choose(world: World, request: Request, weights: Mapping[str, float] | None = None) -> str | None:
    """The node with the highest sum, the first by name of equals; None where no node will do."""
    sums = totals(world, request, weights)
    return min(sums, key=lambda name: (-sums[name], name)) if sums else None
