"""What an anchor requests for claims, and what it is called: operator and agent have these in common."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_api.anchors import LEAST, Size, anchor_name, anchored, total
from berth_api.hypervisors import Overcommit
from berth_api.objects import DNS_SUBDOMAIN

MIB, GIB = 1024**2, 1024**3
amounts = st.builds(Size, st.integers(0, 10**6), st.integers(0, 2**45))
ratios = st.builds(Overcommit, cpu=st.floats(0.1, 64), memory=st.floats(0.1, 8))


@pytest.mark.parametrize(
    ("claims", "ratio", "size"),
    [
        (Size(), Overcommit(), LEAST),
        (Size(4000, 2 * GIB), Overcommit(cpu=1), Size(4000, 2 * GIB)),
        (Size(4000, 2 * GIB), Overcommit(cpu=4), Size(1000, 2 * GIB)),
        (Size(1001, GIB + 1), Overcommit(cpu=4), Size(251, GIB + MIB)),
        (Size(1000, GIB), Overcommit(cpu=0.5, memory=0.5), Size(2000, 2 * GIB)),
    ],
    ids=["no VMs", "as claimed", "overcommitted CPU", "rounded up", "undercommitted"],
)
def test_claims_are_divided_by_the_overcommit_and_rounded_up(claims: Size, ratio: Overcommit, size: Size) -> None:
    assert anchored(claims, ratio) == size


@given(st.lists(amounts, max_size=8), st.integers(0, 8), ratios)
def test_an_anchor_for_some_claims_has_its_place_in_the_one_for_all(
    claims: list[Size], some: int, ratio: Overcommit
) -> None:
    assert anchored(total(claims), ratio).covers(anchored(total(claims[:some]), ratio))


@given(amounts, ratios)
def test_an_anchor_is_never_less_than_what_its_claims_take(claims: Size, ratio: Overcommit) -> None:
    size = anchored(claims, ratio)
    assert size.cpu * ratio.cpu >= claims.cpu - 1e-6 * claims.cpu
    assert size.memory * ratio.memory >= claims.memory - 1e-6 * claims.memory


@pytest.mark.parametrize("node", ["n", "ip-10-0-0-1.eu.compute.internal", "a" * 240, "a" * 241, "a." * 126 + "b"])
def test_every_node_has_a_name_for_its_anchor(node: str) -> None:
    name = anchor_name(node)
    assert len(name) <= 253
    assert re.fullmatch(DNS_SUBDOMAIN, name)
    assert (name == f"berth-anchor-{node}") == (len(node) <= 240)


def test_long_names_that_begin_alike_have_anchors_of_their_own() -> None:
    assert anchor_name("a" * 250) != anchor_name("a" * 251)


def test_a_size_says_what_it_is() -> None:
    assert str(Size(1500, 2 * GIB)) == "CPU 1500m, memory 2Gi"
    assert Size(1500, 2 * GIB).to_requests() == {"cpu": "1500m", "memory": "2Gi"}
