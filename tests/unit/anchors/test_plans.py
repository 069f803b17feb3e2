"""What to do about an anchor, case by case. Pure."""

from dataclasses import replace
from typing import Any

import pytest

from berth_api.anchors import LEAST, Size
from berth_operator.controllers.anchorplans import (
    Action,
    Anchor,
    Create,
    Delete,
    Pace,
    Resize,
    Rest,
    Times,
    Wanted,
    decide,
    is_just,
    limits_for,
    nudged,
)

MIB, GIB = 1024**2, 1024**3
ONE, TWO, FOUR = Size(1000, GIB), Size(2000, 2 * GIB), Size(4000, 4 * GIB)
CALM = Pace(resized=100.0, changed=100.0)
OTHERWISE = "it was made by other settings"
TIMES = Times(answer=0.5, shrink=2.0, recreate=60.0)


def anchor(requests: Size, allocated: Size | None = None, **more: Any) -> Anchor:
    return Anchor(
        name="berth-anchor-n",
        uid="u",
        version="7",
        node="n",
        owner="hv",
        requests=requests,
        allocated=allocated,
        phase=more.pop("phase", "Running"),
        **more,
    )


def wanted(claimed: Size, first: Size = LEAST, template: str = "") -> Wanted:
    return Wanted(owner="hv", template=template, first=first, claimed=claimed)


@pytest.mark.parametrize(
    ("found", "want", "pace", "action"),
    [
        (None, None, CALM, Rest()),
        (anchor(ONE, ONE), None, CALM, Rest()),
        (None, wanted(FOUR, first=ONE), CALM, Create(ONE)),
        (None, replace(wanted(LEAST), needed=False), CALM, Rest()),
        (anchor(ONE, ONE), replace(wanted(TWO), needed=False), CALM, Resize(TWO)),
        (anchor(ONE, ONE), wanted(ONE), CALM, Rest()),
        (anchor(ONE, ONE), wanted(TWO), CALM, Resize(TWO)),
        (anchor(ONE, ONE), wanted(TWO), Pace(resized=0.1, changed=0), Resize(TWO)),
        (anchor(TWO, ONE), wanted(FOUR), Pace(resized=0.1, changed=0), Rest(0.4)),
        (anchor(TWO, ONE), wanted(FOUR), Pace(resized=0.6, changed=0), Resize(FOUR)),
        (anchor(ONE, TWO), wanted(FOUR), CALM, Rest()),
        (anchor(ONE), wanted(TWO), CALM, Resize(TWO)),
        (anchor(LEAST, acknowledged=False, phase="Pending"), wanted(TWO), CALM, Rest()),
        (anchor(FOUR, FOUR), wanted(ONE), Pace(resized=100, changed=0.5), Rest(1.5)),
        (anchor(FOUR, FOUR), wanted(ONE), CALM, Resize(ONE)),
        (anchor(FOUR, ONE, pending="Deferred", tracked=True), wanted(ONE), CALM, Resize(ONE)),
        (
            anchor(FOUR, ONE, pending="Deferred"),
            wanted(ONE),
            CALM,
            Delete("it is denied, and is to be smaller"),
        ),
        (anchor(FOUR, ONE, pending="Deferred"), wanted(ONE), Pace(resized=100, changed=20), Rest(40)),
        (anchor(FOUR, ONE), wanted(ONE), CALM, Rest()),
        (anchor(ONE, TWO, tracked=True), wanted(FOUR), CALM, Resize(FOUR)),
        (anchor(Size(4000, GIB), ONE), wanted(Size(1000, 4 * GIB)), CALM, Resize(FOUR)),
        (anchor(ONE, ONE, deleting=True), wanted(TWO), CALM, Rest()),
        (anchor(ONE, phase="Failed", reason="OutOfcpu"), wanted(ONE), CALM, Delete("OutOfcpu", failed=True)),
        (anchor(ONE, phase="Succeeded"), wanted(ONE), CALM, Delete("Succeeded", failed=True)),
        (replace(anchor(ONE), owner="gone"), wanted(ONE), CALM, Delete("it belongs to a Hypervisor that is gone")),
        (anchor(ONE, phase="Pending"), wanted(ONE, template="new"), CALM, Delete(OTHERWISE)),
        (anchor(LEAST, LEAST), wanted(LEAST, template="new"), CALM, Delete(OTHERWISE)),
        (anchor(ONE, ONE), wanted(LEAST, template="new"), CALM, Resize(LEAST)),
        (anchor(ONE, ONE), wanted(ONE, template="new"), CALM, Rest()),
        (anchor(ONE, ONE, phase="Pending"), wanted(ONE, template="new"), CALM, Rest()),
    ],
    ids=[
        "no node and no anchor",
        "no node any more: the garbage collector's",
        "none yet: what is held first",
        "none, and none is needed",
        "one that would not be made, but is there",
        "as it should be",
        "more claims",
        "more claims, and the last resize was answered",
        "a storm: the kubelet is given time",
        "a storm: but not for ever",
        "made smaller and not answered: nothing is added",
        "not started yet, but taken in",
        "not taken in yet: the kubelet would turn down what has grown",
        "fewer claims, just now",
        "fewer claims for a while",
        "the kubelet denies what nobody wants any longer",
        "it denies that for long and does not say which generation it means",
        "it denies that and does not say which generation it means",
        "it has not answered and does not say which generation it means",
        "made smaller and not answered by one that tells generations",
        "more memory and less CPU: grown first",
        "being deleted",
        "turned down by the kubelet",
        "ended",
        "of a former Hypervisor",
        "made otherwise, and nothing is allocated to it",
        "made otherwise, and the node holds nothing",
        "made otherwise, and the node has just become empty",
        "made otherwise, but it stands for VMs",
        "made otherwise and not started, but it stands for VMs",
    ],
)
def test_decisions(found: Anchor | None, want: Wanted | None, pace: Pace, action: Action) -> None:
    assert decide(found, want, pace, TIMES, resizable=True) == action


@pytest.mark.parametrize(
    ("found", "want", "pace", "action"),
    [
        (None, wanted(FOUR, first=ONE), CALM, Create(FOUR)),
        (anchor(ONE), wanted(TWO), CALM, Delete("it is to be larger")),
        (anchor(TWO), wanted(ONE), Pace(resized=0, changed=20), Rest(40)),
        (anchor(TWO), wanted(ONE), CALM, Delete("it is to be smaller")),
        (anchor(TWO), wanted(TWO), CALM, Rest()),
    ],
    ids=["made at once as it shall be", "larger", "smaller, not yet", "smaller", "as it should be"],
)
def test_decisions_where_pods_cannot_be_resized(
    found: Anchor | None, want: Wanted | None, pace: Pace, action: Action
) -> None:
    assert decide(found, want, pace, TIMES, resizable=False) == action


def test_a_nudge_takes_nothing_away_and_is_not_taken_back() -> None:
    assert nudged(ONE, TWO) == TWO
    assert nudged(TWO, ONE) == Size(2000, 2 * GIB + 1)
    assert is_just(nudged(ONE, ONE), ONE)
    assert not is_just(Size(1000, GIB + MIB), ONE)
    assert not is_just(TWO, ONE)


def test_limits_of_others_are_kept_above_the_requests_and_never_taken_away() -> None:
    assert limits_for(Size(), TWO) == Size()
    assert limits_for(FOUR, TWO) == FOUR
    assert limits_for(Size(500, 0), TWO) == Size(2001, 0)
    assert limits_for(TWO, TWO) == Size(2001, 2 * GIB + 1), "alike, they would make it another QoS class"


def body(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "berth-anchor-n",
            "uid": "u",
            "resourceVersion": "7",
            "ownerReferences": [{"kind": "Hypervisor", "name": "n", "uid": "hv"}],
        },
        "spec": {
            "nodeName": "n",
            "containers": [{"name": "anchor", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
        },
        "status": {"phase": "Running", **status},
    }


@pytest.mark.parametrize(
    ("status", "read"),
    [
        ({}, anchor(ONE, ONE, acknowledged=False)),
        (
            {"containerStatuses": [{"name": "anchor", "allocatedResources": {"cpu": "2", "memory": "2Gi"}}]},
            anchor(ONE, TWO),
        ),
        (
            {"containerStatuses": [{"name": "anchor", "resources": {"requests": {"cpu": "2", "memory": "2Gi"}}}]},
            anchor(ONE, TWO),
        ),
        ({"startTime": "2026-01-01T00:00:00Z", "phase": "Pending"}, anchor(ONE, phase="Pending")),
        ({"containerStatuses": [{"name": "sidecar", "allocatedResources": {"cpu": "2"}}]}, anchor(ONE, ONE)),
        (
            {"conditions": [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]},
            anchor(ONE, pending="Infeasible", acknowledged=False),
        ),
        ({"phase": "Failed", "reason": "Evicted"}, anchor(ONE, phase="Failed", reason="Evicted", acknowledged=False)),
    ],
    ids=[
        "nothing said by a kubelet that knows no resizes",
        "allocated",
        "an older way to say it",
        "taken in",
        "of another container",
        "denied",
        "evicted",
    ],
)
def test_a_pod_is_read(status: dict[str, Any], read: Anchor) -> None:
    assert Anchor.from_api(body(**status)) == read


def test_nothing_is_allocated_to_a_pod_that_was_resized_before_its_kubelet_says_so() -> None:
    resized = body()
    resized["metadata"]["generation"] = 2
    assert Anchor.from_api(resized).allocated is None
