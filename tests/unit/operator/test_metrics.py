"""What the scheduler counts, and how it is served."""

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.api import FakeApi

from berth_operator.apimetrics import MeteredApi
from berth_operator.metrics import CannotServe, Levels, Metrics, new_registry, serving
from berth_operator.scheduling.entries import State


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry, profiles=["default", "pack"], filters=["Memory", "CPU"])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"berth_scheduler_{name}", labels)


def test_attempts_are_counted_by_how_they_ended_and_by_profile(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.bound("default", 0.2)
    metrics.bound("pack", 0.2)
    metrics.bound("pack", 0.2)
    metrics.unschedulable("default", {})
    metrics.failed("default")
    counted = {
        (result, profile): value(registry, "attempts_total", result=result, profile=profile)
        for result in ("bound", "unschedulable", "error")
        for profile in ("default", "pack")
    }
    assert counted == {
        ("bound", "default"): 1,
        ("unschedulable", "default"): 1,
        ("error", "default"): 1,
        ("bound", "pack"): 2,
        ("unschedulable", "pack"): 0,
        ("error", "pack"): 0,
    }


def test_a_profile_that_a_user_made_up_makes_no_label_of_its_own(registry: CollectorRegistry, metrics: Metrics) -> None:
    for name in ("made-up-1", "made-up-2"):
        metrics.bound(name, 0.1)
        metrics.unschedulable(name, {})
        metrics.failed(name)
    for result in ("bound", "unschedulable", "error"):
        assert value(registry, "attempts_total", result=result, profile="unknown") == 2
        assert value(registry, "attempts_total", result=result, profile="made-up-1") is None


def test_rejections_count_nodes_by_filter(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.unschedulable("default", {"Memory": 7, "CPU": 1})
    metrics.unschedulable("default", {"Memory": 3})
    assert value(registry, "filter_rejections_total", filter="Memory") == 10
    assert value(registry, "filter_rejections_total", filter="CPU") == 1


@pytest.mark.parametrize(
    ("waited", "bucket", "below"), [(0.009, "0.01", None), (0.02, "0.02", "0.01"), (599.0, "600.0", "300.0")]
)
def test_the_way_to_a_berth_is_told_from_10_ms_to_10_minutes(
    registry: CollectorRegistry, metrics: Metrics, waited: float, bucket: str, below: str | None
) -> None:
    metrics.bound("default", waited)
    assert value(registry, "binding_duration_seconds_bucket", le=bucket) == 1
    if below is not None:
        assert value(registry, "binding_duration_seconds_bucket", le=below) == 0


def test_clocks_that_disagree_make_no_negative_durations(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.bound("default", -0.7)
    assert value(registry, "binding_duration_seconds_sum") == 0


def test_the_rest_counts_what_it_says(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.decided(0.0001)
    metrics.refused()
    metrics.conflicted()
    metrics.leads(7)
    assert value(registry, "decision_duration_seconds_count") == 1
    assert value(registry, "claims_refused_total") == 1
    assert value(registry, "conflicts_total") == 1
    assert value(registry, "leader_epoch") == 7
    metrics.leads(None)
    assert value(registry, "leader_epoch") == 0


def test_levels_are_read_at_each_scrape(registry: CollectorRegistry, metrics: Metrics) -> None:
    assert value(registry, "queue_virtualmachines", state="parked") == 0
    levels = Levels({State.PARKED: 180, State.ACTIVE: 3}, {"VMAntiAffinity": 180}, writes=5, claims=20)
    metrics.follow(lambda: levels)
    assert value(registry, "queue_virtualmachines", state="parked") == 180
    assert value(registry, "queue_virtualmachines", state="active") == 3
    assert value(registry, "queue_virtualmachines", state="in_flight") == 0
    assert value(registry, "unschedulable_virtualmachines", filter="VMAntiAffinity") == 180
    assert value(registry, "writes_in_flight") == 5
    assert value(registry, "claims") == 20
    levels = Levels()
    assert value(registry, "queue_virtualmachines", state="parked") == 0
    assert value(registry, "unschedulable_virtualmachines", filter="VMAntiAffinity") is None


def test_two_schedulers_count_apart() -> None:
    registries = CollectorRegistry(), CollectorRegistry()
    both = [Metrics(one, profiles=["default"], filters=[]) for one in registries]
    both[0].bound("default", 0.1)
    labels = {"result": "bound", "profile": "default"}
    assert [one.get_sample_value("berth_scheduler_attempts_total", labels) for one in registries] == [1, 0]


async def test_they_are_served_for_prometheus_while_the_context_lasts(listener: socket.socket) -> None:
    url = url_of(listener)
    listener.close()
    registry = new_registry()
    Metrics(registry, profiles=["default"], filters=["Memory"]).bound("default", 0.1)
    async with aiohttp.ClientSession() as client:
        async with serving(url, registry):
            async with client.get(url) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
                families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
            async with client.get(url.replace("/metrics", "/else")) as answer:
                assert answer.status == 404
        assert "process_resident_memory_bytes" in families
        attempts = [sample for sample in families["berth_scheduler_attempts"].samples if sample.value]
        assert [sample.labels for sample in attempts] == [{"result": "bound", "profile": "default"}]
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(url)


async def test_without_a_url_nothing_is_served() -> None:
    before = asyncio.all_tasks()
    async with serving(None, CollectorRegistry()):
        assert asyncio.all_tasks() == before


async def test_a_port_that_is_taken_is_said(listener: socket.socket) -> None:
    url = url_of(listener)
    with pytest.raises(CannotServe, match=f"nothing can be served at {urlsplit(url).netloc}"):
        async with serving(url, CollectorRegistry()):
            pytest.fail("it was served")


def test_the_page_tells_of_every_metric(registry: CollectorRegistry, metrics: Metrics) -> None:
    MeteredApi(FakeApi(), registry)
    counted = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    docs = Path(__file__).parents[3] / "docs"
    scheduling, all_of_them = (
        set(re.findall(r"^\| `(berth_\w+)` \|", (docs / name).read_text(), re.MULTILINE))
        for name in ("scheduling.md", "metrics-operator.md")
    )
    assert scheduling == {name for name in counted if name.startswith("berth_scheduler_")}
    assert all_of_them == counted
