"""Which nodes are alive, and what a decision sees of them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.operator.worlds import GIB, hypervisor_status

from berth_api.hypervisors import Hypervisor
from berth_operator.cluster import Cluster
from berth_operator.inventory import Inventory
from berth_operator.scheduling.cures import Cure
from berth_operator.scheduling.nodes import allocatable_of
from berth_operator.scheduling.snapshot import Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Scene:
    def __init__(self) -> None:
        self.clock, self.cluster, self.rooms, self.version = Clock(), Cluster("berth-system"), 0, 0
        self.inventory = Inventory(
            self.cluster,
            Snapshot(),
            heartbeat_timeout=40.0,
            clock=self.clock,
            now=lambda: NOW + timedelta(seconds=self.clock.time - 1000),
            happened=self.happened,
        )

    def happened(self, _cure: Cure) -> None:
        self.rooms += 1

    def meta(self, name: str, **more: Any) -> dict[str, Any]:
        self.version += 1
        return {"name": name, "uid": f"uid-{name}", "resourceVersion": str(self.version), **more}

    def hypervisor(self, name: str, spec: dict[str, Any] | None = None, **status: Any) -> None:
        body = {"metadata": self.meta(name), "spec": spec or {}, "status": hypervisor_status(**status)}
        self.cluster.hypervisors.upsert(body)

    def node(self, name: str, labels: dict[str, str] | None = None, **spec: Any) -> None:
        self.cluster.nodes.upsert({"metadata": self.meta(name, labels=labels or {}), "spec": spec})

    def beat(self, name: str, at: datetime) -> None:
        spec = {"renewTime": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        self.cluster.leases.upsert({"metadata": self.meta(name, namespace="berth-system"), "spec": spec})


def test_a_node_is_alive_for_as_long_as_its_lease_moves() -> None:
    scene = Scene()
    scene.beat("n", NOW)
    scene.clock.time += 39
    assert scene.inventory.alive("n")
    scene.clock.time += 1
    assert not scene.inventory.alive("n")
    scene.beat("n", NOW + timedelta(seconds=10))
    assert scene.inventory.alive("n")


def test_a_node_that_died_long_ago_does_not_look_alive_to_a_new_leader() -> None:
    scene = Scene()
    scene.beat("n", NOW - timedelta(days=7))
    assert not scene.inventory.alive("n")


def test_a_node_whose_clock_is_wrong_is_alive_once_its_lease_has_moved() -> None:
    scene = Scene()
    scene.beat("n", NOW - timedelta(hours=2))
    scene.beat("n", NOW - timedelta(hours=2) + timedelta(seconds=10))
    assert scene.inventory.alive("n")


def test_a_clock_that_is_ahead_gives_no_longer_life() -> None:
    scene = Scene()
    scene.beat("n", NOW + timedelta(hours=2))
    scene.clock.time += 40
    assert not scene.inventory.alive("n")


def test_a_lease_that_is_gone_is_no_heartbeat() -> None:
    scene = Scene()
    scene.beat("n", NOW)
    scene.cluster.leases.remove({"metadata": scene.meta("n", namespace="berth-system")})
    assert not scene.inventory.alive("n")


def test_only_what_may_help_a_waiting_vm_counts_as_room() -> None:
    scene = Scene()
    scene.hypervisor("n")
    scene.beat("n", NOW)
    told = scene.rooms
    scene.hypervisor("n")
    scene.clock.time += 10
    scene.beat("n", NOW + timedelta(seconds=10))
    assert scene.rooms == told
    scene.hypervisor("n", memory="8Gi")
    assert scene.rooms == told + 1
    scene.clock.time += 60
    assert not scene.inventory.snapshot().ready.any()
    scene.beat("n", NOW + timedelta(seconds=70))
    assert scene.rooms == told + 2
    assert scene.inventory.snapshot().ready.all()


@pytest.mark.parametrize(
    ("hypervisor", "node", "open_"),
    [
        ({}, {}, True),
        ({"schedulable": False}, {}, False),
        ({"maintenance": True}, {}, False),
        ({}, {"unschedulable": True}, False),
    ],
)
def test_a_node_is_closed_by_its_administrator_or_a_cordon(
    hypervisor: dict[str, Any], node: dict[str, Any], open_: bool
) -> None:
    scene = Scene()
    scene.hypervisor("n", hypervisor)
    scene.node("n", **node)
    assert scene.inventory.snapshot().schedulable.tolist() == [open_]


def test_labels_and_taints_come_from_the_node() -> None:
    scene = Scene()
    scene.hypervisor("n")
    scene.node("n", {"zone": "a"}, taints=[{"key": "gpu", "effect": "NoSchedule"}])
    (row,) = scene.inventory.snapshot().facts
    assert row is not None
    assert row.labels == {"zone": "a"}
    assert [str(taint) for taint in row.taints] == ["gpu:NoSchedule"]


def test_a_node_that_goes_is_no_longer_seen() -> None:
    scene = Scene()
    scene.hypervisor("n")
    scene.cluster.hypervisors.remove({"metadata": scene.meta("n")})
    assert len(scene.inventory.snapshot()) == 0


def test_allocatable_is_capacity_times_overcommit_less_reserve_and_pods() -> None:
    body = {
        "metadata": {"name": "n"},
        "spec": {
            "overcommit": {"cpu": 1.1, "memory": 1.5, "storage": 2},
            "reserved": {"cpu": "500m", "memory": "1Gi", "storage": "10Gi"},
        },
        "status": hypervisor_status(memory="8Gi", podRequests={"cpu": "250m", "memory": "512Mi"}),
    }
    found = allocatable_of(Hypervisor.from_api(body))
    assert (found.cpu, found.memory) == (4400 - 500 - 250, 12 * GIB - GIB - GIB // 2)
    assert found.pools == {"default": 190 * GIB}


def test_a_pool_that_is_not_ready_is_not_there() -> None:
    status = hypervisor_status(storagePools=[{"name": "default", "capacity": "100Gi", "ready": False}])
    assert allocatable_of(Hypervisor.from_api({"metadata": {"name": "n"}, "status": status})).pools == {}


@pytest.mark.parametrize("capacity", [{"cpu": "1", "memory": "lots"}, {"cpu": "", "memory": "1"}])
def test_a_node_that_reports_nonsense_is_left_alone(capacity: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.hypervisor("bad", capacity=capacity)
    scene.hypervisor("good")
    assert list(scene.inventory.snapshot().index) == ["good"]
    assert "Hypervisor /bad cannot be read" in caplog.text


def test_a_node_that_boasts_does_not_break_the_sums() -> None:
    scene = Scene()
    scene.hypervisor("boasts", {"overcommit": {"memory": 8, "cpu": 64}}, memory="8E", cpu="9E")
    assert scene.inventory.snapshot().free_memory.tolist() == [2**60]


def test_a_node_that_has_reported_nothing_gives_nothing() -> None:
    found = allocatable_of(Hypervisor.from_api({"metadata": {"name": "n"}}))
    assert (found.cpu, found.memory, found.pools) == (0, 0, {})


def test_a_node_is_judged_by_what_failed_there_lately() -> None:
    scene = Scene()
    scene.hypervisor("n")
    scene.inventory.note_failure("n")
    scene.clock.time += 300
    scene.inventory.note_failure("n")
    assert scene.inventory.snapshot().failures.tolist() == [2]
    scene.clock.time += 301
    assert scene.inventory.snapshot().failures.tolist() == [1]
    scene.clock.time += 301
    assert scene.inventory.snapshot().failures.tolist() == [0]


def test_migrations_are_counted_also_for_a_node_that_is_seen_later() -> None:
    scene = Scene()
    scene.inventory.note_migration("n", 1)
    scene.hypervisor("n")
    assert scene.inventory.snapshot().migrations.tolist() == [1]
    scene.inventory.note_migration("n", -1)
    assert scene.inventory.snapshot().migrations.tolist() == [0]


@pytest.mark.parametrize(("status", "libvirt"), [("True", True), ("False", False), ("Unknown", False), (None, True)])
def test_a_node_whose_agent_says_that_libvirt_is_away_is_known_by_it(status: str | None, *, libvirt: bool) -> None:
    scene = Scene()
    condition = {"type": "LibvirtReady", "status": status, "reason": "x", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    scene.hypervisor("n", conditions=[condition] if status else [])
    facts = scene.inventory.facts("n")
    assert facts is not None
    assert facts.libvirt is libvirt


def test_a_libvirt_that_returns_may_help_a_waiting_vm() -> None:
    scene = Scene()
    since = "2026-01-01T00:00:00Z"
    for status in ("False", "True"):
        told = scene.rooms
        condition = {"type": "LibvirtReady", "status": status, "reason": "x", "lastTransitionTime": since}
        scene.hypervisor("n", conditions=[condition])
        assert scene.rooms == told + 1
