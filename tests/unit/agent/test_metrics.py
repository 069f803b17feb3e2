"""What the agent counts, and that a libvirt that hangs does not hang a scrape."""

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.hypervisor import HANG, FakeHypervisor

from berth_agent.guestfigures import FRESH, PAUSE_AFTER_FAILURE, GuestFigures, Statistics
from berth_agent.hypervisor.errors import Unavailable
from berth_agent.hypervisor.states import BlockStatistics, DomainOwner, DomainStatistics, NetStatistics
from berth_agent.metrics import MOST_CALLS, AgentMetrics, Levels, QueueLevels, new_registry
from berth_agent.reasons import known_reasons, known_steps
from berth_api.serving import serving
from berth_api.virtualmachines import VirtualMachine

USED = DomainStatistics(
    owner=DomainOwner("default", "web", "uid"),
    cpu_seconds=1.5,
    memory_rss=1 << 20,
    blocks=(BlockStatistics(target="vda", read_bytes=1, read_requests=2, write_bytes=3, write_requests=4),),
    nets=(NetStatistics(device="tap0", rx_bytes=1, rx_packets=2, rx_drops=3, tx_bytes=4, tx_packets=5, tx_drops=6),),
)


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class Libvirt:
    """Tells what guests use, or what the test wants instead."""

    def __init__(self) -> None:
        self.asked, self.fault, self.hangs = 0, None, asyncio.Event()
        self.hangs.set()
        self.fault: Exception | None

    async def statistics(self) -> tuple[DomainStatistics, ...]:
        self.asked += 1
        await self.hangs.wait()
        if self.fault is not None:
            raise self.fault
        return (USED,)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(registry: CollectorRegistry, clock: Clock) -> AgentMetrics:
    return AgentMetrics(registry, clock=clock)


def value(registry: CollectorRegistry, metric: str, /, **labels: str) -> float | None:
    return registry.get_sample_value(metric, labels)


def following(libvirt: Statistics, clock: Callable[[], float], **options: float) -> GuestFigures:
    figures = GuestFigures(clock, **options)
    figures.follow(libvirt)
    return figures


def vm(uid: str = "u", *, deleted: bool = False, **status: Any) -> VirtualMachine:
    metadata = {"name": "web", "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:01:00Z"
    return VirtualMachine.from_api({"metadata": metadata, "spec": {"className": "small"}, "status": status})


READY = [{"type": "Ready", "status": "True", "reason": "x", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
T1, T2 = "2026-01-01T00:00:05Z", "2026-01-01T00:10:00Z"


def test_steps_are_counted_by_how_they_ended(registry: CollectorRegistry, metrics: AgentMetrics) -> None:
    metrics.step_done("CreateDisk", 0.2)
    metrics.step_failed("CreateDisk", "ImageNotFound", 1.0)
    name = "berth_agent_step_duration_seconds_count"
    assert value(registry, name, step="CreateDisk", outcome="done") == 1
    assert value(registry, name, step="CreateDisk", outcome="failed") == 1
    assert value(registry, "berth_agent_step_failures_total", step="CreateDisk", reason="ImageNotFound") == 1


def test_what_others_say_makes_up_no_series(registry: CollectorRegistry, metrics: AgentMetrics) -> None:
    for number in range(500):
        metrics.step_failed("CreateDisk", f"Evil{number}", 0.1)
        metrics.step_done(f"Evil{number}", 0.1)
        metrics.libvirt_call(f"evil{number}", 0.1, f"evil{number}")
        metrics.round_done(0.1, f"evil{number}")
        metrics.transition(f"evil{number}", "Running", 0.1)
        metrics.restarted(f"evil{number}")
    assert value(registry, "berth_agent_step_failures_total", step="CreateDisk", reason="Other") == 500
    series = generate_latest(registry).decode().splitlines()
    assert len([line for line in series if "_count{" in line]) < MOST_CALLS * 10
    assert len([line for line in series if "berth_agent_guest_restarts_total{" in line]) == 1


def test_the_agents_own_words_are_known() -> None:
    assert {"CreateDisk", "StartDomain", "ReleaseClaim"} <= known_steps()
    assert {"DownloadStalled", "PluginFailed", "HypervisorUnavailable", "Forbidden", "Unavailable"} <= known_reasons()


def test_a_life_is_told_in_stages_and_phases(registry: CollectorRegistry, metrics: AgentMetrics, clock: Clock) -> None:
    scheduled = {"type": "Scheduled", "status": "True", "reason": "x", "lastTransitionTime": "2026-01-01T00:00:02Z"}
    new = vm(phase="Scheduled", conditions=[scheduled])
    metrics.saw(new)
    clock.time = 0.02
    metrics.wrote(new, {"phase": "Starting", "admittedClaim": "c"})
    clock.time = 1.02
    starting = vm(phase="Starting", admittedClaim="c")
    metrics.saw(starting)
    metrics.wrote(starting, {"phase": "Running", "startedAt": T1})
    clock.time = 1.52
    metrics.wrote(vm(phase="Running", startedAt=T1), {"phase": "Running", "startedAt": T1, "conditions": READY})
    clock.time = 100.0
    metrics.saw(vm(phase="Running", startedAt=T1, deleted=True))
    clock.time = 103.0
    metrics.wrote(vm(phase="Running", startedAt=T1, deleted=True), {"phase": "Terminating", "releasedClaim": "c"})
    stage = "berth_agent_stage_duration_seconds"
    sums = {
        one: value(registry, f"{stage}_sum", stage=one)
        for one in ("created_to_bound", "bound_to_started", "started_to_ready", "deleted_to_released")
    }
    assert sums == {
        "created_to_bound": pytest.approx(2.0),
        "bound_to_started": pytest.approx(1.02),
        "started_to_ready": pytest.approx(0.5),
        "deleted_to_released": pytest.approx(3.0),
    }
    phases = "berth_agent_phase_transition_duration_seconds_sum"
    assert value(registry, phases, phase_from="Scheduled", phase_to="Starting") == pytest.approx(0.02)
    assert value(registry, phases, phase_from="Starting", phase_to="Running") == pytest.approx(1.0)


def test_a_restarted_agent_says_nothing_of_what_was_under_way(
    registry: CollectorRegistry, metrics: AgentMetrics, clock: Clock
) -> None:
    known = vm(phase="Starting", admittedClaim="c")
    metrics.saw(known)
    clock.time = 5.0
    metrics.wrote(known, {"phase": "Running", "startedAt": T1})
    assert value(registry, "berth_agent_stage_duration_seconds_count", stage="bound_to_started") == 0
    assert (
        value(
            registry, "berth_agent_phase_transition_duration_seconds_count", phase_from="Starting", phase_to="Running"
        )
        is None
    )


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"endReason": "Crashed", "endedAt": T1}, {}, "Crashed"),
        ({}, {"restartedAt": T1}, "RestartRequested"),
        ({"nodeBootID": "one"}, {"nodeBootID": "two"}, "NodeRebooted"),
        ({}, {}, "Unknown"),
    ],
)
def test_restarts_are_counted_by_how_the_guest_before_ended(
    registry: CollectorRegistry, metrics: AgentMetrics, before: dict[str, Any], after: dict[str, Any], reason: str
) -> None:
    metrics.wrote(vm(startedAt=T1, **before), {"phase": "Running", "startedAt": T2, **after})
    assert value(registry, "berth_agent_guest_restarts_total", reason=reason) == 1


def test_levels_are_read_at_each_scrape(registry: CollectorRegistry, metrics: AgentMetrics) -> None:
    levels = Levels(
        vms=[vm("a", phase="Running"), vm("b", phase="Running"), vm("c", phase="Stopped")],
        queues={"vms": QueueLevels(waiting=3, running=16, stuck=1, oldest=2.5)},
        heartbeat_age=7.0,
    )
    metrics.follow(lambda: levels)
    assert value(registry, "berth_agent_virtualmachines", phase="Running") == 2
    assert value(registry, "berth_agent_virtualmachines", phase="Stopped") == 1
    assert value(registry, "berth_agent_virtualmachines", phase="Failed") == 0
    assert value(registry, "berth_agent_queue_depth", queue="vms") == 3
    assert value(registry, "berth_agent_queue_running", queue="vms") == 16
    assert value(registry, "berth_agent_queue_stuck", queue="vms") == 1
    assert value(registry, "berth_agent_queue_oldest_seconds", queue="vms") == 2.5
    assert value(registry, "berth_agent_heartbeat_age_seconds") == 7
    levels = Levels()
    assert value(registry, "berth_agent_virtualmachines", phase="Running") == 0


async def test_what_guests_use_is_asked_once_for_a_few_seconds(registry: CollectorRegistry, clock: Clock) -> None:
    libvirt = Libvirt()
    figures = following(libvirt, clock)
    registry.register(figures)
    await asyncio.gather(figures.refresh(), figures.refresh())
    clock.time += FRESH - 0.1
    await figures.refresh()
    assert libvirt.asked == 1
    clock.time += 0.1
    await figures.refresh()
    assert libvirt.asked == 2
    assert value(registry, "berth_agent_libvirt_up") == 1
    owner = {"namespace": "default", "name": "web"}
    assert value(registry, "berth_vm_cpu_seconds_total", **owner) == 1.5
    assert value(registry, "berth_vm_memory_rss_bytes", **owner) == 1 << 20
    assert value(registry, "berth_vm_memory_available_bytes", **owner) is None
    assert value(registry, "berth_vm_disk_write_requests_total", **owner, target="vda") == 4
    assert value(registry, "berth_vm_network_transmit_drops_total", **owner, device="tap0") == 6


@pytest.mark.looptime
async def test_a_libvirt_that_hangs_is_waited_for_a_little_and_asked_no_more(registry: CollectorRegistry) -> None:
    loop = asyncio.get_running_loop()
    libvirt = Libvirt()
    figures = following(libvirt, loop.time)
    registry.register(figures)
    await figures.refresh()
    libvirt.hangs.clear()
    await asyncio.sleep(60)
    begun = loop.time()
    await figures.refresh()
    assert loop.time() - begun < 5
    for _ in range(5):
        await figures.refresh()
    assert libvirt.asked == 2
    assert value(registry, "berth_agent_libvirt_up") == 0
    assert value(registry, "berth_vm_cpu_seconds_total", namespace="default", name="web") is None
    libvirt.hangs.set()
    await figures.refresh()
    assert value(registry, "berth_agent_libvirt_up") == 1
    await figures.close()


@pytest.mark.parametrize("fault", [Unavailable("no socket"), RuntimeError("a bug")])
async def test_a_libvirt_that_is_away_is_asked_again_after_a_pause(
    registry: CollectorRegistry, clock: Clock, fault: Exception
) -> None:
    libvirt = Libvirt()
    libvirt.fault = fault
    figures = following(libvirt, clock)
    registry.register(figures)
    await figures.refresh()
    await figures.refresh()
    assert libvirt.asked == 1
    assert value(registry, "berth_agent_libvirt_up") == 0
    libvirt.fault, clock.time = None, clock.time + PAUSE_AFTER_FAILURE
    await figures.refresh()
    assert value(registry, "berth_agent_libvirt_up") == 1


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        found: int = one.getsockname()[1]
    return found


async def test_a_scrape_gets_the_rest_while_libvirt_hangs(port: int, clock: Clock) -> None:
    hypervisor = FakeHypervisor()
    hypervisor.fail("statistics", HANG)
    figures = following(hypervisor, clock, patience=0.05)
    metrics = AgentMetrics(new_registry())
    metrics.step_done("StartDomain", 0.1)
    url = f"http://127.0.0.1:{port}/metrics"
    async with serving({url: metrics.page(figures)}), aiohttp.ClientSession() as client, client.get(url) as answer:
        assert answer.status == 200
        families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
    assert families["berth_agent_libvirt_up"].samples[0].value == 0
    assert families["berth_agent_step_duration_seconds"].samples
    assert "process_resident_memory_bytes" in families
    await figures.close()


def test_the_page_tells_of_every_metric(registry: CollectorRegistry, metrics: AgentMetrics) -> None:
    registry.register(GuestFigures(lambda: 0.0))
    page = Path(__file__).parents[3] / "docs" / "metrics.md"
    told = re.findall(r"^\| `(berth_\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    counted = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    assert set(told) == counted
    assert len(told) == len(counted), "each once"
