"""What keeps a VM from a node, rule by rule, and how the reason reads."""

from typing import Any

import pytest
from tests.unit.operator.scheduling.clusters import GIB, MIB
from tests.unit.operator.scheduling.examples import (
    apart,
    chosen,
    held,
    labelled,
    near,
    node,
    snapshot,
    why_not,
    wish,
)

from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.nodes import NodeFacts, Taint
from berth_operator.scheduling.place import Rejection, place
from berth_operator.scheduling.requests import Claimant, Request, Tolerance
from berth_operator.scheduling.selectors import NodeTerm, Requirement
from berth_operator.scheduling.snapshot import Reservation

GPU = Taint("gpu", "yes")


@pytest.mark.parametrize(
    ("facts", "asked", "why"),
    [
        (node("n"), {"node_name": "m"}, "1 is not the pinned node (nodeName: m)"),
        (node("n"), {"node_selector": (("disk", "ssd"),)}, "1 does not match nodeSelector or nodeAffinity"),
        (node("n", taints=(GPU,)), {}, "1 has a taint that the VM does not tolerate (gpu=yes:NoSchedule)"),
        (node("n", taints=(Taint("old", effect="NoExecute"),)), {}, "not tolerate (old:NoExecute)"),
        (node("n", schedulable=False), {}, "1 is closed for new VMs"),
        (node("n", accelerator=""), {}, "1 is not ready (no heartbeat of its agent)"),
        (node("n", libvirt=False), {}, "1 has no libvirt that answers"),
        (node("n"), {"excluded": frozenset({"n"})}, "1 refused this VM lately"),
        (node("n", cpu_models=frozenset({"EPYC"})), {"cpu_model": "Haswell"}, "not have the CPU model (Haswell)"),
        (
            node("n", cpu_features=frozenset({"avx"})),
            {"cpu_features": frozenset({"avx", "sgx"})},
            "1 lacks a CPU feature (avx, sgx)",
        ),
        (node("n", machine_types=frozenset({"pc"})), {"machine_type": "q35"}, "1 lacks the machine type (q35)"),
        (node("n"), {"machine_type": "q35"}, "1 lacks the machine type (q35)"),
        (node("n"), {"firmware": frozenset({"EFI"})}, "1 lacks the firmware (EFI)"),
        (
            node("n", firmware=frozenset({"EFI"})),
            {"firmware": frozenset({"EFI", "SecureBoot"})},
            "1 lacks the firmware (EFI, SecureBoot)",
        ),
        (node("n"), {"cpu_model": "host-passthrough"}, "1 lacks KVM for host-passthrough"),
        (
            node("n", failing_networks={"lan": "no such plugin", "wan": "down"}),
            {"networks": frozenset({"lan"})},
            "1 cannot provide a network of the VM (lan: no such plugin)",
        ),
        (node("n"), {"sealed": True}, "1 has no public key to seal user-data to"),
        (
            node("n"),
            {"volume_nodes": (frozenset({"n", "m"}), frozenset({"m"}))},
            "1 does not have a volume of the VM",
        ),
        (node("n", memory=GIB - 1), {}, "1 lacks memory (closest: n, short of 1Mi)"),
        (node("n", cpu=999), {}, "1 lacks CPU (closest: n, short of 1m CPU)"),
        (node("n"), {"pools": (("fast", GIB),)}, "1 lacks storage (no pool fast)"),
        (node("n"), {"pools": (("default", 101 * GIB),)}, "1 lacks storage (pool default: closest: n, short of 1Gi)"),
        (node("n", slots=0), {}, "1 has no VM slot left"),
    ],
)
def test_a_node_is_turned_down_with_its_reason(facts: NodeFacts, asked: dict[str, Any], why: str) -> None:
    message = why_not(snapshot(facts), wish(**asked))
    assert message.startswith("0/1 nodes: 1 ")
    assert message.endswith(why)


@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        (node("n"), {"node_name": "n"}),
        (node("n", labels={"disk": "ssd"}), {"node_selector": (("disk", "ssd"),)}),
        (node("n", taints=(GPU,)), {"tolerations": (Tolerance("gpu", "Equal", "yes"),)}),
        (node("n", taints=(GPU,)), {"tolerations": (Tolerance("gpu", "Exists"),)}),
        (node("n", taints=(GPU,)), {"tolerations": (Tolerance(operator="Exists"),)}),
        (node("n", taints=(Taint("gpu", effect="PreferNoSchedule"),)), {}),
        (node("n", taints=(Taint("node.kubernetes.io/not-ready", effect="NoExecute"),)), {}),
        (node("n"), {"cpu_model": "Haswell"}),
        (node("n", cpu_models=frozenset({"EPYC"})), {"cpu_model": "host-model"}),
        (node("n", cpu_features=frozenset({"avx", "sgx"})), {"cpu_features": frozenset({"sgx"})}),
        (node("n", machine_types=frozenset({"pc", "q35"})), {"machine_type": "q35"}),
        (node("n", firmware=frozenset({"EFI", "SecureBoot"})), {"firmware": frozenset({"EFI"})}),
        (node("n", accelerator="kvm"), {"cpu_model": "host-passthrough"}),
        (node("n"), {"networks": frozenset({"unreported"})}),
        (node("n", public_key="key"), {"sealed": True}),
        (node("n"), {"volume_nodes": (frozenset({"n", "m"}), frozenset({"n"}))}),
        (node("n", cpu=1000, memory=GIB, slots=1), {}),
        (node("n"), {"pools": (("default", 100 * GIB),)}),
    ],
)
def test_a_node_takes_what_it_can_do(facts: NodeFacts, asked: dict[str, Any]) -> None:
    assert chosen(snapshot(facts), wish(**asked)) == "n"


@pytest.mark.parametrize(
    "tolerance",
    [Tolerance("gpu", "Exists", effect="NoExecute"), Tolerance("gpu", "Equal", "no"), Tolerance("old", "Exists")],
)
def test_another_toleration_does_not_help(tolerance: Tolerance) -> None:
    assert "gpu=yes:NoSchedule" in why_not(snapshot(node("n", taints=(GPU,))), wish(tolerations=(tolerance,)))


def test_a_node_without_heartbeat_is_not_ready() -> None:
    assert "1 is not ready" in why_not(snapshot(node("n"), dead=("n",)), wish())


def test_memory_is_what_the_guest_takes_under_the_nodes_accelerator() -> None:
    seen = snapshot(node("n", memory=2 * GIB))
    assert chosen(seen, Request(1000, memory_kvm=3 * GIB, memory_tcg=2 * GIB)) == "n"
    assert "lacks memory" in why_not(seen, Request(1000, memory_kvm=2 * GIB, memory_tcg=3 * GIB))
    assert chosen(seen, Request(1000, memory_kvm=2 * GIB, memory_tcg=2 * GIB)) == "n"


def test_what_is_held_is_not_free() -> None:
    seen = snapshot(node("n"), holdings=[held("a", "n", cpu=2000), held("b", "n", cpu=2000)])
    assert "short of 1 CPU" in why_not(seen, wish())


def test_a_shared_pool_is_one_store_for_all_nodes() -> None:
    nodes = [node(name, pools={"nfs": 10 * GIB}) for name in "ab"]
    seen = snapshot(*nodes, holdings=[held("v", "gone", pools={"nfs": 8 * GIB})], shared=("nfs",))
    assert "2 lack storage (pool nfs: closest: a, short of 1Gi)" in why_not(seen, wish(pools=(("nfs", 3 * GIB),)))
    assert chosen(seen, wish(pools=(("nfs", 2 * GIB),))) == "a"


def test_a_pool_that_shrank_below_what_is_held_is_full_and_not_missing() -> None:
    seen = snapshot(node("n", pools={"p": GIB}), holdings=[held("v", "n", pools={"p": 2 * GIB})])
    assert "pool p: closest: n, short of 2Gi" in why_not(seen, wish(pools=(("p", GIB),)))


def expression(key: str, operator: str, *values: str) -> NodeTerm:
    return NodeTerm((Requirement(key, operator, values),))


def by_name(operator: str, *values: str) -> NodeTerm:
    return NodeTerm(fields=(Requirement("metadata.name", operator, values),))


@pytest.mark.parametrize(
    ("terms", "takes"),
    [
        ([expression("zone", "In", "x", "b")], "b"),
        ([expression("zone", "NotIn", "a")], "b"),
        ([expression("fast", "Exists")], "b"),
        ([expression("fast", "DoesNotExist")], "a"),
        ([expression("fast", "NotIn", "")], "a"),
        ([expression("cores", "Gt", "8")], "b"),
        ([expression("cores", "Lt", "8")], "a"),
        ([expression("zone", "In", "x"), expression("zone", "In", "b")], "b"),
        ([by_name("In", "b")], "b"),
        ([by_name("NotIn", "b")], "a"),
        ([NodeTerm(fields=(Requirement("spec.other", "DoesNotExist"),), labels=by_name("In", "a").fields)], None),
        ([NodeTerm((Requirement("zone", "In", ("a",)), Requirement("cores", "Gt", ("8",))))], None),
        ([NodeTerm()], None),
        ([expression("cores", "Gt", "16")], None),
        ([expression("grouped", "Gt", "1")], None),
        ([expression("huge", "Gt", "1")], None),
        ([expression("zone", "Lt", "1")], None),
        ([expression("absent", "Lt", "1")], None),
    ],
)
def test_required_node_affinity_chooses_by_labels_and_name(terms: list[NodeTerm], takes: str | None) -> None:
    seen = snapshot(
        node("a", labels={"zone": "a", "cores": "4", "grouped": "1_6", "huge": "9" * 20}),
        node("b", labels={"zone": "b", "cores": "16", "fast": ""}),
    )
    request = wish(node_affinity=tuple(terms))
    if takes is None:
        assert "2 do not match nodeSelector or nodeAffinity" in why_not(seen, request)
    else:
        assert chosen(seen, request) == takes


def keep_room(seen: Any, priority: int = 0, **amounts: Any) -> None:
    large = Claimant("uid-large", ("ns", "large"), priority, created=100.0)
    seen.reserve({"n": Reservation(large, **{"cpu": 3000, "memory": 6 * GIB, **amounts})})


def by(priority: int = 0, created: float = 200.0) -> Claimant:
    return Claimant("uid-small", ("ns", "small"), priority, created)


def test_reserved_room_is_for_who_waits_longest() -> None:
    seen = snapshot(node("n"))
    keep_room(seen)
    assert chosen(seen, wish(claimant=by())) == "n"
    seen.take(held("v1", "n"))
    assert why_not(seen, wish(claimant=by())) == "0/1 nodes: 1 is kept for a VM that waits longer"
    assert chosen(seen, wish(claimant=by(priority=1))) == "n"
    assert chosen(seen, wish(claimant=by(created=50.0))) == "n"
    assert chosen(seen, wish(claimant=Claimant("uid-large", ("ns", "large"), 0, 100.0))) == "n"


@pytest.mark.parametrize(
    ("facts", "amounts"),
    [
        (node("n", slots=1), {}),
        (node("n", memory=7 * GIB - 1), {}),
        (node("n", cpu=3999), {}),
        (node("n"), {"pools": {"default": 99 * GIB + 1}}),
    ],
)
def test_both_must_fit_where_room_is_reserved(facts: NodeFacts, amounts: dict[str, Any]) -> None:
    seen = snapshot(facts)
    keep_room(seen, **amounts)
    assert "is kept for" in why_not(seen, wish(pools=(("default", GIB),), claimant=by()))
    seen.reserve({})
    assert chosen(seen, wish(pools=(("default", GIB),), claimant=by())) == "n"


def test_the_message_counts_each_node_once_and_begins_with_the_commonest_reason() -> None:
    small = [node(f"node-{number}", memory=(number * 512) * MIB) for number in range(7)]
    tainted = [node(f"node-{number}", taints=(Taint("x"),)) for number in range(7, 10)]
    full = [node(f"node-{number}") for number in range(10, 12)]
    seen = snapshot(*small, *tainted, *full)
    for facts in full:
        seen.take(held(f"v-{facts.name}", facts.name, member=labelled(group="y")))
    answer = place(seen, wish(memory=4 * GIB + 512 * MIB, member=apart(group="y")))
    assert answer == Rejection(
        "0/12 nodes: 7 lack memory (closest: node-6, short of 1.5Gi), 3 have taints that the VM does not tolerate "
        "(x:NoSchedule), 2 already hold a VM that it must not be near (group group=y)",
        {"Tolerated": 3, "Memory": 7, "VMAntiAffinity": 2},
        frozenset(Cure),
        room=True,
    )


def test_only_events_that_could_help_are_waited_for() -> None:
    closed = place(snapshot(node("n", schedulable=False)), wish())
    assert isinstance(closed, Rejection)
    assert (closed.cured_by, closed.room) == (frozenset({Cure.NODE_CHANGED}), False)
    full = place(snapshot(node("n", cpu=0)), wish())
    assert isinstance(full, Rejection)
    assert (full.cured_by, full.room) == (frozenset({Cure.NODE_CHANGED, Cure.CLAIM_FREED}), True)
    lonely = place(snapshot(node("n", zone="1")), wish(member=near(app="web")))
    assert isinstance(lonely, Rejection)
    assert Cure.CLAIM_ADDED in lonely.cured_by


def test_of_equally_close_nodes_the_first_name_is_told() -> None:
    seen = snapshot(node("b", cpu=0), node("a", cpu=0))
    assert why_not(seen, wish()) == "0/2 nodes: 2 lack CPU (closest: a, short of 1 CPU)"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (1, "1Mi"),
        (MIB + 1, "2Mi"),
        (GIB - 1, "1Gi"),
        (GIB, "1Gi"),
        (GIB + 1, "1.1Gi"),
        (GIB + GIB // 2, "1.5Gi"),
        (GIB + GIB // 2 + 1, "1.6Gi"),
        (10 * GIB, "10Gi"),
    ],
)
def test_what_is_short_is_rounded_up(amount: int, text: str) -> None:
    seen = snapshot(node("n", memory=0))
    assert f"short of {text})" in why_not(seen, wish(memory=amount))


@pytest.mark.parametrize(
    ("lacks", "has", "asked"),
    [
        ({"accelerator": ""}, {"accelerator": "tcg"}, {}),
        ({}, {"accelerator": "kvm"}, {"cpu_model": "host-passthrough"}),
        ({"schedulable": False}, {}, {}),
        ({"libvirt": False}, {}, {}),
        ({}, {"labels": {"disk": "ssd"}}, {"node_selector": (("disk", "ssd"),)}),
        ({"taints": (GPU,)}, {}, {}),
        ({"cpu_models": frozenset({"EPYC"})}, {"cpu_models": frozenset({"EPYC", "Rome"})}, {"cpu_model": "Rome"}),
        ({}, {"cpu_features": frozenset({"avx"})}, {"cpu_features": frozenset({"avx"})}),
        ({}, {"machine_types": frozenset({"q35"})}, {"machine_type": "q35"}),
        ({}, {"firmware": frozenset({"EFI"})}, {"firmware": frozenset({"EFI"})}),
        ({"failing_networks": {"lan": "down"}}, {}, {"networks": frozenset({"lan"})}),
        ({}, {"public_key": "key"}, {"sealed": True}),
        ({"cpu": 0}, {}, {}),
        ({"memory": 0}, {}, {}),
        ({"slots": 0}, {}, {}),
        ({"pools": {}}, {}, {"pools": (("default", GIB),)}),
    ],
)
def test_whatever_changes_of_a_node_counts_from_then_on(
    lacks: dict[str, Any], has: dict[str, Any], asked: dict[str, Any]
) -> None:
    seen, request = snapshot(node("n", **lacks)), wish(**asked)
    for _ in range(2):
        assert "0/1 nodes" in why_not(seen, request)
        seen.upsert(node("n", **has))
        assert chosen(seen, request) == "n"
        seen.upsert(node("n", **lacks))


def test_without_nodes_the_message_says_what_to_run() -> None:
    assert why_not(snapshot(), wish()).startswith("0/0 nodes: there is no Hypervisor; run a node agent")
