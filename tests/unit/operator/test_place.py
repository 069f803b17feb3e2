"""Choosing a node: what keeps one out, which is best, and how a rejection reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.operator.worlds import GIB, MIB, facts, request, snapshot

from berth_api.selectors import NodeSelector, Toleration
from berth_operator.scheduling.nodes import Taint
from berth_operator.scheduling.place import Placement, Rejection, place


def node_of(answer: Placement | Rejection) -> str:
    assert isinstance(answer, Placement), answer
    return answer.node


def message_of(answer: Placement | Rejection) -> str:
    assert isinstance(answer, Rejection), answer
    return answer.message


def test_the_emptier_node_is_chosen() -> None:
    seen = snapshot(facts("node-1"), facts("node-2"))
    seen.usage.memory[0] = 4 * GIB
    assert node_of(place(seen, request())) == "node-2"


def test_a_tie_goes_to_the_first_name() -> None:
    assert node_of(place(snapshot(facts("b"), facts("a"), facts("c")), request())) == "a"


def test_an_exact_fit_fits_and_one_byte_more_does_not() -> None:
    seen = snapshot(facts("node-1", memory=GIB))
    assert node_of(place(seen, request(memory=GIB))) == "node-1"
    assert (
        message_of(place(seen, request(memory=GIB + 1))) == "0/1 nodes: 1 lacks memory (closest: node-1, short of 1Mi)"
    )


def test_a_rejection_names_the_closest_node_and_by_how_much_it_falls_short() -> None:
    seen = snapshot(facts("node-1", memory=3 * GIB), facts("node-2", memory=GIB))
    answer = place(seen, request(memory=4 * GIB + 512 * MIB))
    assert message_of(answer) == "0/2 nodes: 2 lack memory (closest: node-1, short of 1.5Gi)"
    assert isinstance(answer, Rejection)
    assert answer.by_node == {"node-1": "Memory", "node-2": "Memory"}


def test_each_node_counts_once_and_the_commonest_reason_comes_first() -> None:
    seen = snapshot(facts("a", cpu=500), facts("b", cpu=250), facts("c", schedulable=False), dead=())
    assert (
        message_of(place(seen, request()))
        == "0/3 nodes: 2 lack CPU (closest: a, short of 500m CPU), 1 is closed for new VMs"
    )


def test_without_nodes_the_message_says_what_to_run() -> None:
    assert "run a node agent" in message_of(place(snapshot(), request()))


def test_the_memory_of_a_guest_depends_on_the_nodes_accelerator() -> None:
    seen = snapshot(facts("fast", accelerator="kvm"))
    answer = place(seen, request(memory=0).__class__(cpu=1000, memory={"kvm": GIB, "tcg": 2 * GIB}))
    assert isinstance(answer, Placement)
    assert answer.memory == GIB


@pytest.mark.parametrize(
    ("node", "wish", "why"),
    [
        (facts("n", accelerator=""), {}, "is not ready"),
        (facts("n", schedulable=False), {}, "is closed"),
        (facts("n"), {"node_name": "other"}, "is not the pinned node (nodeName: other)"),
        (facts("n"), {"node_selector": {"disk": "ssd"}}, "does not match nodeSelector"),
        (facts("n"), {"excluded": frozenset({"n"})}, "refused this VM lately"),
        (
            facts("n", failing_networks={"lan": "no such plugin"}),
            {"networks": frozenset({"lan"})},
            "a network of the VM (lan: no such plugin)",
        ),
        (facts("n", cpu_models=frozenset({"EPYC"})), {"cpu_model": "Haswell"}, "have the CPU model (Haswell)"),
        (facts("n"), {"sealed": True}, "has no public key"),
        (facts("n"), {"pools": {"fast": GIB}}, "lacks storage (no pool fast)"),
        (facts("n"), {"pools": {"default": 101 * GIB}}, "(pool default: closest: n, short of 1Gi)"),
        (facts("n", taints=(Taint("gpu", "yes"),)), {}, "taint that the VM does not tolerate (gpu=yes:NoSchedule)"),
    ],
)
def test_a_node_is_turned_down_with_its_reason(node: object, wish: dict[str, object], why: str) -> None:
    assert why in message_of(place(snapshot(node), request(**wish)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("node", "wish"),
    [
        (facts("n"), {"node_name": "n"}),
        (facts("n", labels={"disk": "ssd"}), {"node_selector": {"disk": "ssd"}}),
        (facts("n"), {"networks": frozenset({"unreported"})}),
        (facts("n"), {"cpu_model": "Haswell"}),
        (facts("n", cpu_models=frozenset({"EPYC"})), {"cpu_model": "host-model"}),
        (facts("n", public_key="k"), {"sealed": True}),
        (facts("n", taints=(Taint("gpu", "yes"),)), {"tolerations": (Toleration(key="gpu", operator="Exists"),)}),
        (facts("n", taints=(Taint("gpu", "yes"),)), {"tolerations": (Toleration(key="gpu", value="yes"),)}),
        (facts("n", taints=(Taint("gpu", effect="PreferNoSchedule"),)), {}),
        (facts("n", taints=(Taint("node.kubernetes.io/not-ready", effect="NoExecute"),)), {}),
    ],
)
def test_a_node_is_taken_when_the_wish_is_met(node: object, wish: dict[str, object]) -> None:
    assert node_of(place(snapshot(node), request(**wish))) == "n"  # type: ignore[arg-type]


def test_a_node_without_heartbeat_is_not_ready() -> None:
    assert "1 is not ready" in message_of(place(snapshot(facts("n"), dead=("n",)), request()))


def test_the_other_effect_is_not_tolerated() -> None:
    tolerations = (Toleration(key="gpu", operator="Exists", effect="NoExecute"),)
    seen = snapshot(facts("n", taints=(Taint("gpu"),)))
    assert "gpu:NoSchedule" in message_of(place(seen, request(tolerations=tolerations)))


def test_a_shared_pool_is_one_store_for_all_nodes() -> None:
    seen = snapshot(facts("a", pools={"nfs": 10 * GIB}), facts("b", pools={"nfs": 10 * GIB}), shared=("nfs",))
    seen.usage.pools["nfs"][0] = 8 * GIB
    assert "2 lack storage" in message_of(place(seen, request(pools={"nfs": 3 * GIB})))
    assert node_of(place(seen, request(pools={"nfs": 2 * GIB}))) == "a"


def affinity(*terms: dict[str, object]) -> NodeSelector:
    return NodeSelector.model_validate({"nodeSelectorTerms": list(terms)})


def expression(key: str, operator: str, *values: str) -> dict[str, object]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("terms", "chosen"),
    [
        ([expression("zone", "In", "b")], "b"),
        ([expression("zone", "NotIn", "a")], "b"),
        ([expression("fast", "Exists")], "b"),
        ([expression("fast", "DoesNotExist")], "a"),
        ([expression("cores", "Gt", "8")], "b"),
        ([expression("cores", "Lt", "8")], "a"),
        ([expression("zone", "In", "x"), expression("zone", "In", "b")], "b"),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}], "b"),
    ],
)
def test_required_node_affinity_chooses_by_labels(terms: list[dict[str, object]], chosen: str) -> None:
    rows = facts("a", labels={"zone": "a", "cores": "4"}), facts("b", labels={"zone": "b", "cores": "16", "fast": ""})
    assert node_of(place(snapshot(*rows), request(node_affinity=affinity(*terms)))) == chosen


@pytest.mark.parametrize("term", [{}, expression("cores", "Gt", "none"), expression("zone", "Gt", "1")])
def test_an_empty_or_incomparable_term_matches_nothing(term: dict[str, object]) -> None:
    seen = snapshot(facts("a", labels={"zone": "a", "cores": "4"}))
    assert "does not match" in message_of(place(seen, request(node_affinity=affinity(term))))


node_rows = st.builds(
    facts,
    st.text("abcdef", min_size=1, max_size=3),
    cpu=st.integers(0, 8000),
    memory=st.integers(0, 8 * GIB),
    schedulable=st.booleans(),
    accelerator=st.sampled_from(["", "kvm", "tcg"]),
)


@given(st.lists(node_rows, max_size=8, unique_by=lambda row: row.name), st.integers(0, 8000), st.integers(0, 8 * GIB))
def test_the_order_in_which_nodes_are_told_does_not_matter(rows: list[object], cpu: int, memory: int) -> None:
    wish = request(cpu=cpu, memory=memory)
    forward, backward = snapshot(*rows), snapshot(*reversed(rows))  # type: ignore[arg-type]
    assert place(forward, wish) == place(backward, wish)


@given(st.lists(node_rows, max_size=8, unique_by=lambda row: row.name), st.integers(0, 8000), st.integers(0, 8 * GIB))
def test_a_chosen_node_has_room_and_a_rejection_explains_every_node(rows: list[object], cpu: int, memory: int) -> None:
    seen = snapshot(*rows)  # type: ignore[arg-type]
    answer = place(seen, request(cpu=cpu, memory=memory))
    if isinstance(answer, Placement):
        row = seen.nodes.facts[seen.nodes.index[answer.node]]
        assert row.allocatable.cpu >= cpu
        assert row.allocatable.memory >= memory
        assert row.schedulable
        assert row.accelerator
    else:
        assert set(answer.by_node) == set(seen.nodes.index)
