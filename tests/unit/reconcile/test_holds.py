"""Holds: a failure's own report is no reason to try again, a change that could help is."""

from itertools import pairwise
from random import Random
from typing import Any

import pytest

from berth_agent.reconcile.holds import FIRST_WAIT, LONGEST_WAIT, PERMANENT_WAIT, Holds
from berth_api.virtualmachines import VirtualMachine


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def vm(generation: int = 1, **status: Any) -> VirtualMachine:
    return VirtualMachine.from_api(
        {
            "metadata": {"name": "a", "namespace": "d", "uid": "u", "generation": generation},
            "spec": {"className": "small"},
            "status": status,
        }
    )


def test_a_held_vm_waits_although_its_status_changed() -> None:
    clock = Clock()
    holds = Holds(clock, Random(1))
    wait = holds.hold(vm(), retryable=True)
    assert FIRST_WAIT <= wait <= FIRST_WAIT * 1.25
    assert holds.remaining(vm(phase="Failed")) == pytest.approx(wait)
    clock.now += wait
    assert holds.remaining(vm()) == 0


def test_waits_double_up_to_a_cap_and_permanent_failures_wait_longest() -> None:
    holds = Holds(Clock(), Random(1))
    waits = [holds.hold(vm(), retryable=True) for _ in range(1100)]
    assert all(later > earlier * 1.4 for earlier, later in pairwise(waits[:6]))
    assert max(waits) <= LONGEST_WAIT * 1.25
    assert holds.hold(vm(), retryable=False) >= PERMANENT_WAIT


def test_a_changed_spec_or_a_changed_reference_ends_the_wait() -> None:
    holds = Holds(Clock(), Random(1))
    holds.hold(vm(), retryable=False)
    assert holds.remaining(vm(generation=2)) == 0
    assert holds.remaining(vm()) > 0
    holds.lift("u")
    assert holds.remaining(vm()) == 0
