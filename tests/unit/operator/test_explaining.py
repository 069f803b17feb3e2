"""What the explanation of a VM says, on a small cluster, and how it is shown."""

import asyncio
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.fakes.api import FakeApi

from berth_api import kinds
from berth_api.client import Forbidden
from berth_operator.explaining import Unexplainable, explain
from berth_operator.explanations import Explanation, NodeAccount, Refusal
from berth_operator.schedulerconfigs import read_profiles
from berth_operator.scheduling.filters import FILTERS
from berth_operator.settings import Settings
from berth_operator.tables import as_json, as_text, new_console, visible

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = "\x1b]0;owned\x07[red]\u202e\n\x9b31m"


class World:
    """A cluster in memory."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.api.add(kinds.STORAGE_POOL, {"metadata": {"name": "default"}, "spec": {"path": "/pool"}})
        plugin = {"type": "bridge", "capabilities": {"ips": True}}
        subnets = [{"cidr": "10.7.0.0/30", "gateway": "10.7.0.1"}]
        network = {"cni": {"plugins": [plugin]}, "subnets": subnets}
        self.api.add(kinds.VIRTUAL_NETWORK, {"metadata": {"name": "lan"}, "spec": network})

    def node(
        self,
        name: str,
        memory: str = "8Gi",
        *,
        silent: float = 0,
        taint: str = "",
        labels: dict[str, str] | None = None,
    ) -> None:
        taints = [{"key": taint, "effect": "NoSchedule"}] if taint else []
        self.api.add(kinds.NODE, {"metadata": {"name": name, "labels": labels or {}}, "spec": {"taints": taints}})
        renewed = (NOW - timedelta(seconds=silent)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lease = {"metadata": {"name": name, "namespace": "berth-system"}, "spec": {"renewTime": renewed}}
        self.api.add(kinds.LEASE, lease)
        status = {
            "capacity": {"cpu": "4", "memory": memory},
            "accelerator": "tcg",
            "storagePools": [{"name": "default", "capacity": "100Gi", "ready": True}],
        }
        self.api.add(kinds.HYPERVISOR, {"metadata": {"name": name}, "spec": {}, "status": status})

    def vm(self, name: str = "web", *, status: dict[str, Any] | None = None, **spec: Any) -> None:
        body: dict[str, Any] = {
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "spec": {
                "runStrategy": "Always",
                "cpu": {"cores": 2},
                "memory": {"size": "2Gi"},
                "networks": [],
                "disks": [{"name": "root", "size": "1Gi"}],
                **spec,
            },
            "status": status or {},
        }
        self.api.add(kinds.VIRTUAL_MACHINE, body)

    async def explain(self, name: str = "web", *, config: Path | None = None) -> Explanation:
        return await explain(
            self.api,
            Settings(scheduler_config=config),
            read_profiles(config),
            namespace="default",
            name=name,
            clock=asyncio.get_running_loop().time,
            now=lambda: NOW,
        )


@pytest.fixture
def world() -> World:
    return World()


def bound(node: str, memory: str, **more: Any) -> dict[str, Any]:
    claim = {"id": f"claim-{node}", "epoch": 1, "cpu": "2", "memory": memory, "storage": "1Gi"}
    return {"nodeName": node, "claim": claim, **more}


def of(explanation: Explanation, name: str) -> NodeAccount:
    return next(node for node in explanation.nodes if node.name == name)


def names(explanation: Explanation) -> list[str]:
    return [node.name for node in explanation.nodes]


async def test_every_node_answers_to_every_filter_and_the_chosen_one_comes_first(world: World) -> None:
    world.node("a-tainted", taint="gpu")
    world.node("b-tainted-and-small", "1Gi", taint="gpu")
    world.node("c-fits", "4Gi")
    world.node("d-fits-better", "16Gi")
    world.vm()
    found = await world.explain()
    assert (found.chosen, found.reason) == ("d-fits-better", "")
    assert names(found) == ["d-fits-better", "c-fits", "a-tainted", "b-tainted-and-small"]
    assert found.message == "2/4 nodes would take it: d-fits-better has the highest score"
    assert found.filters == tuple(each.name for each in FILTERS)
    assert of(found, "a-tainted").refusals == {
        "Tolerated": Refusal("has a taint that the VM does not tolerate", "gpu:NoSchedule")
    }
    assert set(of(found, "b-tainted-and-small").refusals) == {"Tolerated", "Memory"}
    assert of(found, "b-tainted-and-small").refusals["Memory"].detail == "short of 1.9Gi"
    best, second = found.nodes[:2]
    assert best.total is not None
    assert second.total is not None
    assert best.total > second.total
    assert best.total == pytest.approx(sum(best.rates[name] * weight for name, weight in found.weights.items()))


async def test_of_equals_the_first_by_name_is_chosen_and_the_message_says_so(world: World) -> None:
    for name in ("n-2", "n-1", "n-3"):
        world.node(name)
    world.vm()
    found = await world.explain()
    assert names(found) == ["n-1", "n-2", "n-3"]
    assert found.message == ("3/3 nodes would take it: n-1 has the highest score, and is the first of them by name")


async def test_where_no_node_will_do_the_message_is_that_of_the_condition(world: World) -> None:
    world.node("small", "1Gi")
    world.node("silent", silent=60)
    world.vm()
    found = await world.explain()
    assert (found.chosen, found.reason) == (None, "Unschedulable")
    assert found.message == (
        "0/2 nodes: 1 is not ready (no heartbeat of its agent), 1 lacks memory (closest: small, short of 1.9Gi)"
    )
    assert all(not node.rates and node.total is None for node in found.nodes)


async def test_what_other_vms_hold_is_taken_and_their_groups_count(world: World) -> None:
    world.node("full", "4Gi", labels={"zone": "a"})
    world.node("beside", labels={"zone": "b"})
    world.vm("other", status=bound("full", "3Gi"))
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}
    world.vm(affinity={"vmAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
    found = await world.explain()
    assert found.chosen == "beside"
    assert set(of(found, "full").refusals) == {"Memory", "VMAntiAffinity"}


async def test_a_bound_vm_does_not_stand_in_its_own_way(world: World) -> None:
    world.node("n", "3Gi")
    world.vm(status=bound("n", "2300Mi", phase="Running"))
    found = await world.explain()
    assert (found.chosen, found.bound_to) == ("n", "n")
    assert any("bound to n" in note for note in found.notes)


async def test_a_node_that_has_just_refused_it_is_left_out(world: World) -> None:
    world.node("n")
    world.vm(status=bound("n", "2300Mi", refusedClaim="claim-n"))
    found = await world.explain()
    assert found.chosen is None
    assert set(of(found, "n").refusals) == {"NotRefused"}


async def test_migrations_of_others_count_against_a_node(world: World) -> None:
    world.node("a-busy", "16Gi")
    world.node("b-calm", "16Gi")
    world.vm("other", status=bound("a-busy", "0", phase="Migrating") | {"claim": None})
    world.vm()
    found = await world.explain()
    assert (of(found, "a-busy").rates["Migrations"], of(found, "b-calm").rates["Migrations"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"className": "gone", "cpu": None, "memory": None}, "ClassNotFound"),
        ({"priorityClassName": "gone"}, "PriorityClassNotFound"),
        ({"schedulerProfile": "gone"}, "SchedulerProfileNotFound"),
        ({"networks": [{"name": "nic", "networkName": "gone"}]}, "NetworkNotFound"),
    ],
)
async def test_what_keeps_it_from_being_considered_at_all_is_said(
    world: World, spec: dict[str, Any], reason: str
) -> None:
    world.node("n")
    world.vm(**spec)
    found = await world.explain()
    assert (found.chosen, found.reason, found.nodes) == (None, reason, ())
    assert "gone" in found.message


async def test_an_address_that_is_taken_keeps_it_from_the_node_that_was_chosen(world: World) -> None:
    world.node("n")
    taken = bound("n", "1Gi")
    taken["claim"]["interfaces"] = [
        {"name": "nic", "networkName": "lan", "macAddress": "02:be:00:00:00:01", "ipAddresses": ["10.7.0.2/30"]}
    ]
    world.vm("other", status=taken)
    world.vm(networks=[{"name": "nic", "networkName": "lan", "ipAddresses": ["10.7.0.2"]}])
    found = await world.explain()
    assert (found.chosen, found.reason, names(found)) == (None, "AddressInUse", ["n"])


async def test_a_configured_profile_decides(world: World, tmp_path: Path) -> None:
    config = tmp_path / "scheduler.yaml"
    config.write_text(
        "profiles: [{name: default, scores: {LeastAllocated: 0, BalancedAllocation: 0, MostAllocated: 1}}]"
    )
    world.node("large", "16Gi")
    world.node("small", "4Gi")
    world.vm()
    assert (await world.explain()).chosen == "large"
    assert (await world.explain(config=config)).chosen == "small"


async def test_it_says_what_it_cannot_know(world: World) -> None:
    world.vm()
    told = " ".join((await world.explain()).notes)
    for words in ("refused the VM earlier", "Heartbeats count as seen now"):
        assert words in told


async def test_it_says_what_keeps_the_leader_from_placing_the_vm_anyway(world: World) -> None:
    world.vm(runStrategy="Halted")
    assert any("Halted" in note for note in (await world.explain()).notes)


async def test_a_vm_that_is_not_there_is_said_by_name(world: World) -> None:
    with pytest.raises(Unexplainable, match="VirtualMachine default/web does not exist"):
        await world.explain()


async def test_what_cannot_be_read_is_told_and_nothing_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.vm()
    world.vm("broken", memory={"size": "lots"}, cpu="all")
    found = await world.explain()
    assert "VirtualMachine default/broken cannot be read and is left alone" in found.notes
    with pytest.raises(Unexplainable, match="default/broken cannot be read"):
        await world.explain("broken")
    assert not caplog.records


async def test_it_writes_nothing_and_lists_each_kind_once(world: World) -> None:
    world.node("n")
    world.vm()
    await world.explain()
    assert {call.verb for call in world.api.calls} == {"list"}
    listed = [call.kind for call in world.api.calls]
    assert len(listed) == len(set(listed))


async def test_a_right_that_is_missing_is_an_error(world: World) -> None:
    world.api.fail(Forbidden(403, "Forbidden", "no"), kind=kinds.LEASE)
    with pytest.raises(Forbidden):
        await world.explain()


def account(name: str, **refusals: str) -> NodeAccount:
    if refusals:
        return NodeAccount(name, {key: Refusal("is not right", detail) for key, detail in refusals.items()})
    return NodeAccount(name, rates={"LeastAllocated": 0.5, "Migrations": 0.0}, total=0.5)


def example(*nodes: NodeAccount, **more: Any) -> Explanation:
    values: dict[str, Any] = {
        "message": "1/3 nodes would take it: a has the highest score",
        "chosen": "a",
        "filters": ("Ready", "Memory", "CPU"),
        "weights": {"LeastAllocated": 1.0, "Migrations": 2.0},
        "notes": ("Heartbeats count as seen now.",),
        **more,
    }
    return Explanation("default", "web", "default", nodes=nodes, **values)


def plain(explanation: Explanation, *, wide: bool = False) -> str:
    return as_text(explanation, explanation.nodes, new_console(io.StringIO(), wide=wide), wide=wide)


def test_the_table_shows_what_tells_nodes_apart_and_names_the_rest() -> None:
    explanation = example(account("a"), account("bb", Memory="short of 1Gi"), account("c", Memory="", CPU="short"))
    assert plain(explanation) == (
        "VirtualMachine default/web, profile default\n"
        "\n"
        "NODE  Memory          CPU\n"
        "a *   ✓               ✓\n"
        "bb    ✗ short of 1Gi  ✓\n"
        "c     ✗ is not right  ✗ short\n"
        "Every node shown passes: Ready\n"
        "\n"
        "NODE  TOTAL   LeastAllocated\N{MULTIPLICATION SIGN}1\n"
        "a *   0.5000  0.5000\n"
        "0 for every node shown: Migrations\N{MULTIPLICATION SIGN}2\n"
        "\n"
        "1/3 nodes would take it: a has the highest score\n"
        "\n"
        "- Heartbeats count as seen now.\n"
    )


def test_the_wide_table_has_a_column_for_everything() -> None:
    lines = plain(example(account("a"), account("b", CPU="short")), wide=True).splitlines()
    headers = [line.split() for line in lines if line.startswith("NODE")]
    assert headers == [
        ["NODE", "Ready", "Memory", "CPU"],
        ["NODE", "TOTAL", "LeastAllocated\N{MULTIPLICATION SIGN}1", "Migrations\N{MULTIPLICATION SIGN}2"],
    ]


def test_a_rejection_starts_with_its_reason() -> None:
    rejected = example(account("b", CPU="short"), chosen=None, reason="Unschedulable", message="0/1 nodes: 1 lacks CPU")
    lines = plain(rejected).splitlines()
    assert "Unschedulable: 0/1 nodes: 1 lacks CPU" in lines
    assert not any("TOTAL" in line for line in lines)


def test_a_terminal_is_filled_and_not_overrun() -> None:
    explanation = example(account("a"), account("b", Memory="x" * 200))
    console = Console(file=io.StringIO(), force_terminal=True, width=60, color_system=None)
    text = as_text(explanation, explanation.nodes, console, wide=False)
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("x") >= 200


def test_what_others_wrote_cannot_steer_the_terminal_nor_be_taken_for_markup() -> None:
    explanation = example(account("a"), account("b", CPU=HOSTILE), message=HOSTILE, notes=(HOSTILE,), bound_to=HOSTILE)
    for console in (new_console(io.StringIO()), Console(file=io.StringIO(), force_terminal=True, width=300)):
        text = as_text(explanation, explanation.nodes, console, wide=False)
        assert not {"\x07", "\u202e", "\x9b"} & set(text)
        assert "\x1b]" not in text
        assert text.count("[red]") == 3
    shown = as_json(explanation, explanation.nodes)
    assert shown.isascii()
    assert shown.replace("\n", "").isprintable()


def test_escapes_are_legible() -> None:
    assert visible("a\tb\x1b[0m é\u2028") == r"a\tb\x1b[0m é\u2028"


def test_a_stream_that_takes_no_marks_gets_escapes() -> None:
    explanation = example(account("a"), account("b", CPU="short"))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    stream.write(as_text(explanation, explanation.nodes, new_console(stream), wide=False))


def test_json_has_everything() -> None:
    explanation = example(account("a"), account("b", CPU="short"), bound_to="b")
    found = json.loads(as_json(explanation, explanation.nodes))
    assert (found["chosen"], found["boundTo"], found["schedulerProfile"]) == ("a", "b", "default")
    first, second = found["nodes"]
    assert first["scores"]["LeastAllocated"] == {"rate": 0.5, "weight": 1.0}
    assert first["total"] == 0.5
    assert second["filters"] == {
        "Ready": {"passed": True},
        "Memory": {"passed": True},
        "CPU": {"passed": False, "reason": "is not right", "detail": "short"},
    }
    assert (second["feasible"], second["scores"], second["total"]) == (False, {}, None)
