"""What is counted of VMs' lives, and of calls to the API server."""

from itertools import pairwise
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.fakes.api import FakeApi
from tests.unit.operator.lives import Lives
from tests.unit.operator.worlds import vm_body

from berth_api.client import Api, NotFound
from berth_api.kinds import VIRTUAL_MACHINE
from berth_api.virtualmachines import VirtualMachine
from berth_operator.apimetrics import MeteredApi
from berth_operator.lifemetrics import LifeMetrics

BOUND = {
    "nodeName": "node-1",
    "conditions": [
        {"type": "Scheduled", "status": "True", "reason": "Bound", "lastTransitionTime": "2026-01-01T00:00:03Z"}
    ],
}


def vm(**status: Any) -> VirtualMachine:
    body = vm_body("web")
    body["metadata"] |= {"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return VirtualMachine.from_api({**body, "status": status})


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def lives(registry: CollectorRegistry) -> LifeMetrics:
    one = LifeMetrics(registry)
    one.counts = True
    return one


def took(registry: CollectorRegistry, transition: str) -> tuple[float | None, float | None]:
    name, labels = "berth_virtualmachine_transition_duration_seconds", {"transition": transition}
    return registry.get_sample_value(f"{name}_sum", labels), registry.get_sample_value(f"{name}_count", labels)


def test_a_life_is_measured_by_its_own_timestamps(registry: CollectorRegistry, lives: LifeMetrics) -> None:
    running = {**BOUND, "admittedClaim": "c1", "startedAt": "2026-01-01T00:00:10Z"}
    for old, new in ((None, vm()), (vm(), vm(**BOUND)), (vm(**BOUND), vm(**running)), (vm(**running), vm(**running))):
        lives.changed(old, new)
    assert took(registry, "created_to_bound") == (3.0, 1.0)
    assert took(registry, "bound_to_running") == (7.0, 1.0)


def test_a_start_after_a_stop_is_no_boot_whatever_the_agent_has_forgotten_by_then(
    registry: CollectorRegistry, lives: LifeMetrics
) -> None:
    """Halted, then Always: the agent takes away all counts, and the condition Scheduled is as old as the VM."""
    stopped = {**BOUND, "admittedClaim": "c1", "stoppedClaim": "c1"}
    waiting = {**BOUND, "admittedClaim": "c2"}
    again = {**waiting, "startedAt": "2026-01-01T10:00:00Z"}
    states = (vm(), vm(**BOUND), vm(**stopped), vm(**BOUND), vm(**waiting), vm(**again))
    for old, new in pairwise(states):
        lives.changed(old, new)
    assert took(registry, "bound_to_running") == (0.0, 0.0)


def test_a_vm_that_was_bound_before_this_leader_looked_may_have_run_long_ago(
    registry: CollectorRegistry, lives: LifeMetrics
) -> None:
    lives.changed(None, vm(**BOUND))
    lives.changed(vm(**BOUND), vm(**BOUND, startedAt="2026-01-01T10:00:00Z"))
    assert took(registry, "bound_to_running") == (0.0, 0.0)


def test_a_start_after_a_stop_is_no_boot(registry: CollectorRegistry, lives: LifeMetrics) -> None:
    lives.changed(vm(**BOUND, stoppedClaim="c1"), vm(**BOUND, startedAt="2026-01-01T10:00:00Z"))
    assert took(registry, "bound_to_running") == (0.0, 0.0)


def test_who_does_not_lead_counts_nothing(registry: CollectorRegistry, lives: LifeMetrics) -> None:
    lives.counts = False
    lives.changed(vm(), vm(**BOUND))
    assert took(registry, "created_to_bound") == (0.0, 0.0)


def test_restarts_are_counted_by_how_the_guest_ended(registry: CollectorRegistry, lives: LifeMetrics) -> None:
    lives.changed(vm(**BOUND), vm(**BOUND, restartCount=1, endReason="Crashed"))
    lives.changed(vm(**BOUND, restartCount=1, endReason="Crashed"), vm(**BOUND, restartCount=3))
    lives.changed(vm(**BOUND, restartCount=3), vm(**BOUND))
    name = "berth_virtualmachine_restarts_total"
    assert registry.get_sample_value(name, {"reason": "Crashed"}) == 3.0
    assert registry.get_sample_value(name, {"reason": "Unknown"}) == 0.0


async def test_calls_are_measured_by_verb_and_outcome(registry: CollectorRegistry) -> None:
    fake = FakeApi()
    fake.add(VIRTUAL_MACHINE, vm_body("web"))
    api: Api = MeteredApi(fake, registry)
    await api.get(VIRTUAL_MACHINE, "web", "default")
    with pytest.raises(NotFound):
        await api.get(VIRTUAL_MACHINE, "db", "default")
    await api.apply(VIRTUAL_MACHINE, "web", "default", {"status": {}}, field_manager="x", subresource="status")
    name = "berth_operator_api_request_duration_seconds_count"
    counted = {
        (verb, outcome): registry.get_sample_value(name, {"verb": verb, "outcome": outcome})
        for verb, outcome in (("get", "OK"), ("get", "NotFound"), ("apply", "OK"))
    }
    assert set(counted.values()) == {1.0}
    assert [call.verb for call in fake.calls] == ["get", "get", "apply"]


@pytest.mark.looptime
async def test_vms_are_counted_by_phase_and_every_phase_is_there() -> None:
    world = Lives()
    world.add_node("node-1")
    async with world.leading():
        await world.launch("web")
        world.add_vm("huge", memory={"size": "64Gi"})
        await world.settle()
        found = {
            phase: world.registry.get_sample_value("berth_virtualmachines", {"phase": phase})
            for phase in ("Running", "Unschedulable", "NodeLost", "Unknown")
        }
        assert found == {"Running": 1, "Unschedulable": 1, "NodeLost": 0, "Unknown": 0}
