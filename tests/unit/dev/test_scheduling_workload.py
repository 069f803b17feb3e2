"""The cluster in which `place` is timed is as it is said to be: half full, every rule kept, the same each time."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from benchmarks.scheduling import decisions
from benchmarks.scheduling.workloads import GROUP_SIZE, SHARES, ZONES, Workload

from berth_operator.scheduling.place import Placement, place

NODES = 60


@pytest.fixture(scope="module")
def workload() -> Workload:
    return Workload.of(NODES)


def test_it_is_half_full_and_no_node_is_past_its_capacity(workload: Workload) -> None:
    snapshot = workload.snapshot
    assert 0.45 < float(snapshot.free_cpu.sum() / snapshot.cpu.sum()) <= 0.5
    assert np.all(snapshot.free_cpu >= 0)
    assert np.all(snapshot.free_memory >= 0)


def test_its_groups_are_where_their_rules_let_them_be(workload: Workload) -> None:
    def zones(sort: str, group: int) -> list[int]:
        held = [*workload.held[sort]][group * GROUP_SIZE : (group + 1) * GROUP_SIZE]
        return [int(one.node.removeprefix("node-")) % ZONES for one in held]

    apart = Counter((one.member.labels["app"], one.node) for one in workload.held["apart"])
    assert set(apart.values()) == {1}
    assert len(set(zones("near", 0))) == 1
    assert sorted(zones("spread", 0)) == list(range(ZONES))


def test_vms_come_in_the_shares_that_are_told() -> None:
    sorts = Counter(sort for _, sort, _ in islice(Workload.of(10).arrivals(), 5000))
    assert sum(SHARES.values()) == 100
    for sort, share in SHARES.items():
        assert sorts[sort] / 50 == pytest.approx(share, abs=3)


def test_a_vm_of_every_sort_finds_a_node() -> None:
    workload = Workload.of(NODES)
    placed: dict[str, bool] = {}
    for _, sort, request in workload.arrivals():
        placed[sort] = isinstance(place(workload.snapshot, request), Placement)
        if len(placed) == len(SHARES):
            break
    assert all(placed.values()), placed


def test_claims_are_given_back_as_they_are_taken() -> None:
    workload = Workload.of(NODES)
    free = int(workload.snapshot.free_slots.sum())
    found = decisions.run(workload, 0.1)
    assert int(workload.snapshot.free_slots.sum()) == free
    assert set(found.seconds) == set(SHARES)
    assert found.rejected == 0
    assert 0 < found.rate <= found.rate_of_cpu * 1.05


def test_the_same_seed_gives_the_same_cluster() -> None:
    one, other = ([[held.node for held in each] for each in Workload.of(20).held.values()] for _ in range(2))
    assert one == other
