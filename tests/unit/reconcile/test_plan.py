"""The plan: what a simulated node does with it always ends in what was asked for, and delete always wins."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_agent.reconcile.plan import steps as plans
from berth_agent.reconcile.plan.desired import Desired, Goal
from berth_agent.reconcile.plan.differences import Hardware, differences
from berth_agent.reconcile.plan.observed import Observed, ObservedDisk, ObservedInterface, Power
from berth_agent.reconcile.plan.planning import MEMORY_INTERVAL, POWER_BUTTON_INTERVAL, Plan, plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
GIB = 2**30
NAMES = st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(tuple)


def interface(name: str, *, intact: bool = True) -> ObservedInterface:
    return ObservedInterface(name, intact, problem="" if intact else "the tap is gone")


def disk(name: str) -> ObservedDisk:
    return ObservedDisk(name, f"/pool/{name}", 1)


desires = st.builds(
    Desired,
    goal=st.sampled_from(Goal),
    admitted=st.booleans(),
    disk_names=NAMES,
    interface_names=NAMES,
    destroy_at=st.sampled_from([None, NOW - timedelta(seconds=1), LATER]),
    yielded=st.booleans(),
    start_at=st.sampled_from([None, NOW - timedelta(seconds=1)]),
    hardware=st.sampled_from(
        [None, Hardware(2, 2 * GIB), Hardware(4, GIB, {"disks": "new"}), Hardware(2, GIB, {}, False)]
    ),
)
observations = st.builds(
    Observed,
    power=st.sampled_from(Power),
    interfaces=st.dictionaries(st.sampled_from("abcd"), st.booleans()).map(
        lambda found: {name: interface(name, intact=intact) for name, intact in found.items()}
    ),
    disks=NAMES.map(lambda names: {name: disk(name) for name in names}),
    has_seed=st.booleans(),
    to_adopt=st.booleans(),
    guest_agent_connected=st.booleans(),
    vcpus=st.sampled_from([0, 1, 2]),
    max_vcpus=st.just(2),
    boot_memory=st.just(GIB),
    memory=st.sampled_from([0, GIB]),
    max_memory=st.sampled_from([GIB, 4 * GIB]),
)


class Node:
    """A node on which every step does at once what it is for; the guest obeys the power button if `obedient`."""

    def __init__(self, observed: Observed, *, obedient: bool = True) -> None:
        self.observed = observed
        self.obedient = obedient
        self.admitted = False
        self.released = False
        self.yielded = False

    def take(self, step: plans.Step) -> None:  # noqa: C901, PLR0912, PLR0915 - one case a step, on purpose
        seen = self.observed
        match step:
            case plans.AdoptGuest():
                seen = replace(seen, to_adopt=False)
            case plans.AdmitClaim():
                assert not seen.to_adopt, "what is here is adopted before anything else is done"
                self.admitted = True
            case plans.CreateDisk(name):
                assert name not in seen.disks, "a disk that is there is never made again"
                seen = replace(seen, disks={**seen.disks, name: disk(name)})
            case plans.AttachInterface(name):
                seen = replace(seen, interfaces={**seen.interfaces, name: interface(name)})
            case plans.DetachInterface(name):
                assert not seen.power.is_active, "the tap of a running guest is never taken away"
                seen = replace(seen, interfaces={k: v for k, v in seen.interfaces.items() if k != name})
            case plans.WriteSeed():
                seen = replace(seen, has_seed=True)
            case plans.DeleteSeed():
                seen = replace(seen, has_seed=False)
            case plans.DefineDomain():
                seen = replace(seen, power=Power.OFF if seen.power is Power.ABSENT else seen.power)
            case plans.StartDomain(paused):
                assert seen.power is Power.OFF, "only what is defined and off is started"
                seen = replace(seen, power=Power.PAUSED if paused else Power.RUNNING)
            case plans.ResumeDomain():
                seen = replace(seen, power=Power.RUNNING)
            case plans.SuspendDomain():
                seen = replace(seen, power=Power.PAUSED)
            case plans.ShutdownDomain():
                seen = replace(seen, power=Power.OFF if self.obedient else seen.power)
            case plans.DestroyDomain():
                seen = replace(seen, power=Power.OFF)
            case plans.UndefineDomain():
                assert seen.power in (Power.OFF, Power.ABSENT), "a running domain is never forgotten"
                seen = replace(seen, power=Power.ABSENT)
            case plans.DeleteDisks():
                assert not seen.power.is_active, "a running guest keeps its disks"
                seen = replace(seen, disks={})
            case plans.PlugCPUs(cpus):
                assert seen.power is Power.RUNNING
                assert cpus <= seen.max_vcpus
                seen = replace(seen, vcpus=cpus)
            case plans.PlugMemory(memory):
                assert seen.boot_memory <= memory <= seen.max_memory
                seen = replace(seen, memory=memory)
            case plans.YieldClaim():
                assert not seen.power.is_active, "a running guest keeps its CPU and memory"
                self.yielded = True
            case plans.ReleaseClaim():
                assert seen.nothing, "the claim is released last, when nothing is left"
                self.released = True
            case _:
                pytest.fail(f"the node of this test does not know {step}")
        self.observed = seen


def run(desired: Desired, node: Node, now: datetime = NOW) -> None:
    for _ in range(5):
        desired = replace(desired, admitted=desired.admitted or node.admitted, yielded=desired.yielded or node.yielded)
        if desired.goal is Goal.RESTART and not node.observed.power.is_active:
            desired = replace(desired, goal=Goal.RUN)
        for step in plan(desired, node.observed, now).steps:
            node.take(step)


@given(desires, observations)
def test_every_plan_ends_in_what_was_asked_for(desired: Desired, observed: Observed) -> None:
    node = Node(observed)
    run(desired, node)
    end = node.observed
    match desired.goal:
        case Goal.RUN | Goal.RESTART:
            assert end.power in (Power.RUNNING, Power.STOPPING)
        case Goal.PAUSE:
            assert end.power in (Power.PAUSED, Power.STOPPING)
        case Goal.STOP:
            assert not end.power.is_active
            assert node.yielded or desired.yielded
        case Goal.REMOVE:
            assert end.nothing
            assert node.released
        case Goal.PURGE:
            assert end.nothing
            assert not node.released


@given(desires, observations)
def test_what_a_plan_leads_to_needs_no_further_plan(desired: Desired, observed: Observed) -> None:
    node = Node(observed)
    run(desired, node)
    settled = replace(desired, admitted=True, yielded=True)
    again = plan(settled, node.observed, NOW).steps
    if desired.goal is Goal.RESTART:
        assert again == plan(settled, node.observed, NOW).steps
    elif desired.goal in (Goal.RUN, Goal.PAUSE, Goal.STOP):
        assert again == ()
    else:
        assert set(again) <= {plans.DeleteDisks(), plans.ReleaseClaim()}


@given(desires, observations, st.data())
def test_a_plan_that_was_killed_between_two_steps_is_continued(
    desired: Desired, observed: Observed, data: st.DataObject
) -> None:
    node = Node(observed)
    steps = plan(desired, observed, NOW).steps
    for step in steps[: data.draw(st.integers(0, len(steps)))]:
        node.take(step)
    node.released = False
    run(desired, node)
    removed = desired.goal in (Goal.REMOVE, Goal.PURGE)
    assert node.observed.nothing == (removed or (desired.goal is Goal.STOP and observed.nothing))


@given(desires, observations)
def test_nothing_is_created_before_the_claim_is_admitted(desired: Desired, observed: Observed) -> None:
    steps = plan(replace(desired, admitted=False), observed, NOW).steps
    created = [index for index, step in enumerate(steps) if isinstance(step, plans.CreateDisk | plans.StartDomain)]
    if created:
        assert steps.index(plans.AdmitClaim()) < min(created)


def test_a_guest_that_ignores_the_power_button_is_told_again_and_then_destroyed() -> None:
    stubborn = Node(Observed(power=Power.RUNNING), obedient=False)
    desired = Desired(Goal.REMOVE, admitted=True, destroy_at=NOW + timedelta(seconds=30))

    first = plan(desired, stubborn.observed, NOW)
    assert first.steps == (plans.ShutdownDomain(),)
    assert first.look_again_after == POWER_BUTTON_INTERVAL

    last = plan(desired, stubborn.observed, NOW + timedelta(seconds=29))
    assert last.look_again_after == timedelta(seconds=1)

    told = replace(desired, asked_at=NOW)
    assert plan(told, stubborn.observed, NOW + timedelta(seconds=2)).steps == ()
    assert plan(told, stubborn.observed, NOW + POWER_BUTTON_INTERVAL).steps == (plans.ShutdownDomain(),)

    over = plan(desired, stubborn.observed, NOW + timedelta(seconds=30))
    assert over.steps[0] == plans.DestroyDomain()
    assert over.steps[-1] == plans.ReleaseClaim()


def test_a_paused_guest_is_woken_to_hear_the_power_button() -> None:
    desired = Desired(Goal.STOP, destroy_at=LATER)
    steps = plan(desired, Observed(power=Power.PAUSED), NOW).steps
    assert steps == (plans.ResumeDomain(), plans.ShutdownDomain())


def test_a_broken_attachment_of_a_running_guest_is_repaired_and_nothing_else_is_touched() -> None:
    observed = Observed(power=Power.RUNNING, interfaces={"a": interface("a", intact=False), "b": interface("b")})
    desired = Desired(Goal.RUN, admitted=True, interface_names=("a", "b"))
    assert plan(desired, observed, NOW).steps == (plans.AttachInterface("a"),)


def test_a_nic_that_left_the_spec_is_detached_before_the_next_start() -> None:
    observed = Observed(power=Power.OFF, interfaces={"old": interface("old")})
    steps = plan(Desired(Goal.RUN, admitted=True, interface_names=("new",)), observed, NOW).steps
    assert steps.index(plans.DetachInterface("old")) < steps.index(plans.AttachInterface("new"))


def test_the_guests_agent_is_asked_first_and_then_the_power_button() -> None:
    observed = Observed(power=Power.RUNNING, guest_agent_connected=True)
    desired = Desired(Goal.STOP, destroy_at=LATER)
    assert plan(desired, observed, NOW).steps == (plans.ShutdownDomain(by_agent=True),)
    again = replace(desired, asked_at=NOW - POWER_BUTTON_INTERVAL)
    assert plan(again, observed, NOW).steps == (plans.ShutdownDomain(),)


def test_a_guest_that_keeps_ending_waits_for_its_time() -> None:
    desired = Desired(Goal.RUN, admitted=True, start_at=NOW + timedelta(seconds=40))
    assert plan(desired, Observed(power=Power.OFF), NOW) == Plan(look_again_after=timedelta(seconds=40))
    assert plan(desired, Observed(power=Power.CRASHED), NOW).steps == (plans.DestroyDomain(),)
    assert plans.StartDomain() in plan(desired, Observed(power=Power.OFF), desired.start_at or NOW).steps


def test_a_guest_that_failed_before_is_looked_at_again_when_it_has_been_well_for_long() -> None:
    observed = Observed(power=Power.RUNNING, started_at=NOW - timedelta(minutes=9))
    assert plan(Desired(Goal.RUN, admitted=True, failing=True), observed, NOW).look_again_after == timedelta(minutes=1)
    assert plan(Desired(Goal.RUN, admitted=True), observed, NOW).look_again_after is None


def test_a_guest_that_should_give_memory_back_is_asked_and_looked_at_until_it_has() -> None:
    holding = Observed(power=Power.RUNNING, boot_memory=GIB, memory=3 * GIB, max_memory=4 * GIB)
    asked = Desired(Goal.RUN, admitted=True, hardware=Hardware(0, 2 * GIB))
    assert plan(asked, holding, NOW) == Plan((plans.PlugMemory(2 * GIB),), look_again_after=MEMORY_INTERVAL)
    assert differences(Hardware(0, 2 * GIB), holding) == ("memory 3Gi to 2Gi",)
    rounded = replace(holding, memory=2 * GIB + 2**20)
    assert plan(asked, rounded, NOW) == Plan()
    assert differences(Hardware(0, 2 * GIB), rounded) == ()


RUNNING = Observed(
    power=Power.RUNNING, vcpus=1, max_vcpus=4, boot_memory=GIB, memory=GIB, max_memory=4 * GIB, parts={"cpu": "c"}
)


@pytest.mark.parametrize(
    ("wanted", "steps"),
    [
        (Hardware(1, GIB, {"cpu": "c"}), ()),
        (Hardware(2, GIB, {"cpu": "c"}), (plans.PlugCPUs(2),)),
        (Hardware(4, 2 * GIB, {"cpu": "c"}), (plans.PlugCPUs(4), plans.PlugMemory(2 * GIB))),
        (Hardware(5, GIB, {"cpu": "c"}), ()),
        (Hardware(2, GIB, {"cpu": "other"}), ()),
        (Hardware(1, 5 * GIB, {"cpu": "c"}), ()),
        (Hardware(1, GIB // 2, {"cpu": "c"}), ()),
        (Hardware(2, 2 * GIB, {"cpu": "c"}, covered=False), ()),
    ],
)
def test_a_running_guest_is_given_what_can_be_plugged_in(wanted: Hardware, steps: tuple[plans.Step, ...]) -> None:
    assert plan(Desired(Goal.RUN, admitted=True, hardware=wanted), RUNNING, NOW).steps == steps
