"""The fault suite's workloads follow from their seed alone, and its model knows what they entitle to."""

from collections import Counter

import pytest
from tests.e2e.faults.models import UNSURE, Machine, Model
from tests.e2e.faults.workloads import MAX_KILLS, Action, Kind, Verb, workload

SEEDS = range(20)


def test_the_same_seed_does_the_same() -> None:
    assert workload(7, 40) == workload(7, 40)
    assert workload(7, 40) != workload(8, 40)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_shorter_run_is_how_a_longer_one_begins(seed: int) -> None:
    assert workload(seed, 40)[:7] == workload(seed, 7)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_of_fault_comes(seed: int) -> None:
    faults = [one.fault for one in workload(seed, 20)]
    missing = set(Kind) - {fault.kind for fault in faults}
    assert missing <= {Kind.QEMU}, "which is an agent's death where no guest may be killed any more"
    killed = Counter(fault.target for fault in faults if fault.kind is Kind.QEMU)
    assert all(times <= MAX_KILLS for times in killed.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_users_ask_for_what_makes_sense(seed: int) -> None:
    model = Model()
    for one in workload(seed, 40):
        for action in (*one.before, *one.during):
            machine = model.machines.get(action.vm)
            assert (machine is None) == (action.verb is Verb.CREATE)
            if machine is not None:
                assert machine.halted == (action.verb is Verb.START) or action.verb is Verb.DELETE
            model.apply(action)


def test_a_guest_that_runs_once_stays_off_when_it_has_died() -> None:
    machine = Machine("Once", asked_at=0.0)
    machine.died(age=UNSURE + 1)
    assert machine.runs is False


def test_nobody_can_say_whether_a_guest_that_dies_young_has_run() -> None:
    machine = Machine("Once", asked_at=0.0)
    machine.died(age=UNSURE - 1)
    assert machine.runs is None


def test_a_guest_that_dies_before_its_restart_is_restarted() -> None:
    machine = Machine("Once", asked_at=0.0)
    machine.start_anew()
    machine.died(age=UNSURE + 1)
    assert machine.runs is True


@pytest.mark.parametrize("strategy", ["Always", "RerunOnFailure"])
def test_a_guest_that_dies_is_started_again(strategy: str) -> None:
    machine = Machine(strategy)
    machine.died(age=60)
    assert machine.runs is True
    assert machine.starts == 2


def test_a_halted_vm_is_off_whatever_happens() -> None:
    model = Model()
    model.apply(Action(Verb.CREATE, "a", strategy="Always"))
    model.apply(Action(Verb.HALT, "a"))
    model.machines["a"].died(age=60)
    assert model.machines["a"].runs is False
