"""Plain nodes, requests and VMs, of which an example changes what it is about."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.unit.operator.scheduling.clusters import GIB

from berth_api.allocatable import Amounts
from berth_operator.scheduling.groups import Group, Member, Term
from berth_operator.scheduling.holdings import Holding
from berth_operator.scheduling.nodes import HeldImage, NodeFacts
from berth_operator.scheduling.place import Placement, Rejection, place
from berth_operator.scheduling.requests import Request, Requirements
from berth_operator.scheduling.selectors import Labels, Requirement, Selector
from berth_operator.scheduling.snapshot import Snapshot

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
ALL_VMS = Selector()


def node(name: str, *, cpu: int = 4000, memory: int = 8 * GIB, zone: str = "", **more: Any) -> NodeFacts:
    """A node with 4 cores, 8 GiB and a default pool of 100 GiB, that runs guests under TCG."""
    pools = more.pop("pools", {"default": 100 * GIB})
    images = frozenset(HeldImage(digest, size) for digest, size in more.pop("images", {}).items())
    labels = {HOST: name, **({ZONE: zone} if zone else {}), **more.pop("labels", {})}
    return NodeFacts(name, Amounts(cpu, memory, pools), labels=labels, images=images, **{"accelerator": "tcg", **more})


def wish(cpu: int = 1000, memory: int = GIB, *, member: Member | None = None, **more: Any) -> Request:
    """A request for one core and 1 GiB; what is no field of it is one of its requirements."""
    own = {name: more.pop(name) for name in ("pools", "spread", "soft_spread", "excluded", "claimant") if name in more}
    return Request(cpu, memory, memory, requirements=Requirements(**more), member=member or Member("ns"), **own)


def held(uid: str, node: str, *, member: Member | None = None, **more: Any) -> Holding:
    """What a VM with half a core and 1 GiB holds."""
    amounts: dict[str, Any] = {"cpu": 500, "memory": GIB, **more}
    return Holding(uid, f"ns/{uid}", f"claim-{uid}", node, member=member or Member("ns"), **amounts)


def snapshot(
    *nodes: NodeFacts,
    holdings: Iterable[Holding] = (),
    dead: tuple[str, ...] = (),
    shared: tuple[str, ...] = (),
    namespaces: Mapping[str, Mapping[str, str]] | None = None,
) -> Snapshot:
    seen = Snapshot(shared)
    for facts in nodes:
        seen.upsert(facts)
        seen.set_ready(facts.name, ready=facts.name not in dead)
    for name, labels in (namespaces or {}).items():
        seen.name_space(name, labels)
    for each in holdings:
        seen.take(each)
    return seen


def labelled(namespace: str = "ns", /, **labels: str) -> Member:
    return Member(namespace, pairs(labels))


def pairs(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def group(*namespaces: str, **labels: str) -> Group:
    """VMs with these labels, in the namespace `ns` unless others are named."""
    wanted = tuple(Requirement(key, "In", (value,)) for key, value in labels.items())
    return Group(Selector(wanted), frozenset(namespaces or {"ns"}))


def apart(key: str = HOST, **labels: str) -> Member:
    """A VM with these labels that keeps away from its like."""
    return Member("ns", pairs(labels), anti_affinity=(Term(group(**labels), key),))


def near(key: str = ZONE, own: Mapping[str, str] | None = None, **labels: str) -> Member:
    """A VM that wants to be near those with these labels."""
    return Member("ns", pairs(own or {}), affinity=(Term(group(**labels), key),))


def node_of(answer: Placement | Rejection) -> str:
    assert isinstance(answer, Placement), answer
    return answer.node


def message_of(answer: Placement | Rejection) -> str:
    assert isinstance(answer, Rejection), answer
    return answer.message


def chosen(seen: Snapshot, request: Request) -> str:
    """The node that takes a request."""
    return node_of(place(seen, request))


def why_not(seen: Snapshot, request: Request) -> str:
    """Why no node takes a request."""
    return message_of(place(seen, request))
