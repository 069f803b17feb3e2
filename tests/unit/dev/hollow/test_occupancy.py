"""Who is on the nodes, and whether the operator gave more than there was."""

from dataclasses import replace
from typing import Any

from tests.unit.dev.hollow.watched import GIB, claim, vm_body

from berth_api.allocatable import Amounts
from berth_api.client import ObjectList
from berth_dev.hollow.machines import Key
from berth_dev.hollow.occupancy import Occupancy
from berth_dev.hollow.reports import Report
from berth_dev.hollow.rooms import Limits

LIMITS = Limits(Amounts(cpu=2000, memory=8 * GIB, pools={"default": 100 * GIB}), slots=10)


class Seen:
    """An occupancy of two nodes with two CPUs each, and what it is told."""

    def __init__(self) -> None:
        self.report, self.changed = Report(), list[Key]()
        self.occupancy = Occupancy({"a": LIMITS, "b": LIMITS}, self.report, self.changed.append)
        self.version = 0

    def body(self, name: str, node: str = "", **status: Any) -> dict[str, Any]:
        self.version += 1
        body = vm_body(name, node, **status)
        body["metadata"] |= {"uid": f"uid-{name}", "resourceVersion": str(self.version)}
        return body

    def sees(self, name: str, node: str = "", **status: Any) -> None:
        self.occupancy.upsert(self.body(name, node, **status))

    def admits(self, name: str) -> str | None:
        vm = self.occupancy.get(("default", name))
        assert vm is not None
        assert vm.claim is not None
        refusal = self.occupancy.admit(vm, vm.claim)
        return refusal.reason if refusal else None

    @property
    def over_capacity(self) -> list[str]:
        assert self.report.over_capacity == len(self.report.violations)
        return [violation.vm for violation in self.report.violations]


def test_only_vms_on_its_own_nodes_are_seen() -> None:
    seen = Seen()
    seen.sees("waits")
    seen.sees("elsewhere", "real-node")
    seen.sees("here", "a")
    assert [seen.occupancy.get(("default", name)) is not None for name in ("waits", "elsewhere", "here")] == [
        False,
        False,
        True,
    ]
    assert seen.report.offered == 1


def test_the_claim_that_is_too_much_is_refused_and_counted() -> None:
    seen = Seen()
    for name in ("one", "two", "three"):
        seen.sees(name, "a", claim=claim(f"of-{name}"))
    assert [seen.admits(name) for name in ("one", "two", "three")] == [None, None, "InsufficientCPU"]
    assert seen.over_capacity == ["default/three"]
    assert seen.report.violations[0].reason == "InsufficientCPU"


def test_what_is_admitted_stays_so_and_counts_once() -> None:
    seen = Seen()
    seen.sees("one", "a", claim=claim(cpu="2"))
    assert seen.admits("one") is None
    assert seen.admits("one") is None
    seen.sees("one", "a", claim=claim(cpu="2"), admittedClaim="c1", phase="Running")
    assert seen.over_capacity == []
    assert seen.report.offered == 1


def test_room_that_was_given_back_is_given_again() -> None:
    seen = Seen()
    seen.sees("one", "a", claim=claim(cpu="2"), admittedClaim="c1")
    seen.sees("one", "a", claim=claim(cpu="2"), admittedClaim="c1", releasedClaim="c1")
    seen.sees("two", "a", claim=claim("c2", cpu="2"))
    assert seen.admits("two") is None
    seen.occupancy.remove(seen.body("two", "a", claim=claim("c2", cpu="2")))
    seen.sees("three", "a", claim=claim("c3", cpu="2"))
    seen.sees("three", "b", claim=claim("c4", cpu="2"))
    seen.sees("four", "a", claim=claim("c5", cpu="2"))
    assert seen.admits("four") is None
    assert seen.over_capacity == []


def test_a_binding_before_the_release_that_it_needs_is_the_operators_fault() -> None:
    seen = Seen()
    seen.sees("one", "a", claim=claim(cpu="2"), admittedClaim="c1")
    seen.sees("two", "a", claim=claim("c2", cpu="2"))
    seen.sees("one", "a", claim=claim(cpu="2"), admittedClaim="c1", releasedClaim="c1")
    assert seen.admits("two") is None
    assert seen.over_capacity == ["default/two"]


def test_a_refused_claim_takes_nothing() -> None:
    seen = Seen()
    seen.sees("one", "a", claim=claim(cpu="2"))
    seen.sees("one", "a", claim=claim(cpu="2"), refusedClaim="c1")
    seen.sees("two", "a", claim=claim("c2", cpu="2"))
    assert seen.admits("two") is None
    assert seen.over_capacity == []


def test_a_former_leaders_claim_is_refused_and_nobodys_fault() -> None:
    seen = Seen()
    seen.occupancy.epoch = 2
    seen.sees("one", "a", claim=claim(cpu="2", epoch=2))
    seen.sees("late", "a", claim=claim("c2", cpu="2", epoch=1))
    assert seen.admits("late") == "StaleEpoch"
    assert seen.admits("one") is None
    assert seen.over_capacity == []


def test_an_admitted_claim_outlives_its_epoch() -> None:
    seen = Seen()
    seen.sees("one", "a", claim=claim(cpu="2", epoch=1), admittedClaim="c1")
    seen.occupancy.epoch = 2
    assert seen.admits("one") is None
    seen.sees("two", "a", claim=claim("c2", cpu="2", epoch=2))
    assert seen.admits("two") == "InsufficientCPU"
    assert seen.over_capacity == ["default/two"]


def test_a_list_is_judged_as_a_whole() -> None:
    seen = Seen()
    seen.sees("zoe", "a", claim=claim(cpu="2"))
    bound = seen.body("abe", "a", claim=claim("c2", cpu="2"))
    released = seen.body("zoe", "a", claim=claim(cpu="2"), releasedClaim="c1")
    seen.occupancy.begin_list()
    seen.occupancy.upsert(bound)
    seen.occupancy.upsert(released)
    seen.occupancy.replace(ObjectList([bound, released], str(seen.version)))
    assert seen.over_capacity == []
    too_much = seen.body("bob", "a", claim=claim("c3", cpu="2"))
    seen.occupancy.begin_list()
    seen.occupancy.upsert(too_much)
    seen.occupancy.replace(ObjectList([bound, too_much], str(seen.version)))
    assert len(seen.over_capacity) == 1
    assert seen.occupancy.get(("default", "zoe")) is None


def test_more_vms_than_a_node_takes_are_counted() -> None:
    seen = Seen()
    seen.occupancy.limits["a"] = replace(LIMITS, slots=1)
    for name in ("one", "two"):
        seen.sees(name, "a", claim=claim(f"of-{name}", cpu="1m"))
    assert [violation.reason for violation in seen.report.violations] == ["NoFreeSlot"]


def test_every_change_is_told() -> None:
    seen = Seen()
    seen.sees("one", "a")
    seen.occupancy.remove(seen.body("one", "a"))
    assert seen.changed == [("default", "one")] * 2
