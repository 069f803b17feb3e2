"""What a Pod requests is what kube-scheduler counts: the rules of KEP-753, KEP-1287, KEP-2837 and KEP-688."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_agent.node.pods import Pod, effective_requests, sum_of_requests
from berth_api.allocatable import MAX_AMOUNT, Amounts

MIB = 1024**2


def container(cpu: int = 0, memory: int = 0, name: str = "c", *, sidecar: bool = False) -> dict[str, Any]:
    """A container that requests so many millicores and MiB."""
    requests = {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}
    return {"name": name, "resources": {"requests": requests}} | ({"restartPolicy": "Always"} if sidecar else {})


def pod(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), **more: Any) -> Pod:
    status = more.pop("status", {})
    spec = {"containers": [*containers], "initContainers": [*init], **more}
    return Pod.from_api({"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": spec, "status": status})


def needs(cpu: int, memory: int) -> Amounts:
    return Amounts(cpu=cpu, memory=memory * MIB)


PLAIN: tuple[tuple[str, Pod, Amounts], ...] = (
    ("nothing", pod(), needs(0, 0)),
    ("no requests", pod({"name": "c"}, {"name": "d", "resources": {}}), needs(0, 0)),
    ("the sum of its containers", pod(container(100, 64), container(250, 32)), needs(350, 96)),
    (
        "Max(Max(initContainers), Sum(Containers)), resource by resource",
        pod(container(100, 64), container(100, 64), init=(container(500, 16), container(50, 256))),
        needs(500, 256),
    ),
    (
        "Sum(Sidecar Containers) + Sum(Containers)",
        pod(container(100, 64), init=(container(50, 32, sidecar=True), container(20, 16, sidecar=True))),
        needs(170, 112),
    ),
    (
        "a sidecar before an init container is there while that one runs",
        pod(container(100, 64), init=(container(50, 32, sidecar=True), container(200, 100))),
        needs(250, 132),
    ),
    (
        "a sidecar after an init container is not",
        pod(container(100, 64), init=(container(200, 100), container(50, 32, sidecar=True))),
        needs(200, 100),
    ),
    (
        "each init container beside the sidecars before it only",
        pod(
            container(10, 10),
            init=(
                container(300, 1),
                container(100, 1, sidecar=True),
                container(150, 1),
                container(100, 1, sidecar=True),
                container(250, 1),
            ),
        ),
        needs(450, 12),
    ),
    (
        "overhead comes on top",
        pod(container(100, 64), overhead={"cpu": "50m", "memory": "120Mi"}),
        needs(150, 184),
    ),
    (
        "the Pod's own request goes before its containers', for the resources that it names",
        pod(container(100, 64), container(100, 64), resources={"requests": {"cpu": "150m"}}, overhead={"cpu": "10m"}),
        needs(160, 128),
    ),
    (
        "limits alone of the Pod are no request",
        pod(container(100, 64), resources={"limits": {"cpu": "2", "memory": "1Gi"}}),
        needs(100, 64),
    ),
    (
        "other resources are nobody's business here",
        pod({"name": "c", "resources": {"requests": {"example.com/gpu": "1", "hugepages-2Mi": "64Mi"}}}),
        needs(0, 0),
    ),
)


@pytest.mark.parametrize(("given_pod", "expected"), [pytest.param(*case[1:], id=case[0]) for case in PLAIN])
def test_a_pod_requests_what_it_needs_at_its_peak(given_pod: Pod, expected: Amounts) -> None:
    assert effective_requests(given_pod) == expected


def resized(has: str, allocated: str, *reasons: str, name: str = "c") -> dict[str, Any]:
    """The status of a Pod whose container was given so much CPU."""
    given_to = {
        "name": name,
        "resources": {"requests": {"cpu": has}},
        "allocatedResources": {"cpu": allocated},
    }
    conditions = [{"type": "PodResizePending", "reason": reason} for reason in reasons]
    return {"containerStatuses": [given_to], "conditions": conditions}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (resized("100m", "100m"), 300),
        (resized("500m", "300m"), 500),
        (resized("100m", "400m"), 400),
        (resized("100m", "100m", "Deferred"), 300),
        (resized("100m", "100m", "Infeasible"), 100),
        (resized("900m", "900m", name="another"), 300),
        ({"containerStatuses": [{"name": "c"}]}, 300),
    ],
    ids=["grows", "shrinks", "is allowed to", "waits", "never will", "is not asked", "is not known"],
)
def test_while_a_resize_is_under_way_the_larger_counts(status: dict[str, Any], expected: int) -> None:
    assert effective_requests(pod(container(300), status=status)).cpu == expected


def test_a_sidecar_is_resized_as_a_container_is_and_an_init_container_is_not() -> None:
    status = {"initContainerStatuses": resized("700m", "700m", name="s")["containerStatuses"]}
    assert effective_requests(pod(init=(container(100, name="s", sidecar=True),), status=status)).cpu == 700
    assert effective_requests(pod(init=(container(100, name="s"),), status=status)).cpu == 100


def test_a_pods_own_request_is_resized_too() -> None:
    status = {"resources": {"requests": {"cpu": "2"}}, "allocatedResources": {"cpu": "1500m"}}
    assert effective_requests(pod(container(100), resources={"requests": {"cpu": "1"}}, status=status)).cpu == 2000


@pytest.mark.parametrize(
    ("phase", "counts"), [("Succeeded", False), ("Failed", False), ("Pending", True), ("Running", True), ("", True)]
)
def test_a_pod_that_has_ended_requests_nothing(phase: str, counts: bool) -> None:
    assert (effective_requests(pod(container(100, 64), status={"phase": phase})) == needs(100, 64)) is counts


def test_a_request_beyond_all_bounds_counts_as_more_than_any_node_has() -> None:
    greedy = pod({"name": "c", "resources": {"requests": {"memory": "8Ei", "cpu": "9e18"}}}, container(1, 1))
    assert sum_of_requests([greedy, greedy]) == Amounts(cpu=MAX_AMOUNT, memory=MAX_AMOUNT)


def test_the_sum_is_over_all_pods() -> None:
    pods = [pod(container(100, 64)), pod(container(1, 1), status={"phase": "Failed"}), pod(container(200, 32))]
    assert sum_of_requests(pods) == needs(300, 96)
    assert sum_of_requests([]) == Amounts()


lists = st.lists(st.tuples(st.integers(0, 500), st.booleans()), max_size=5)


@given(lists, st.lists(st.integers(0, 500), max_size=4))
def test_the_peak_is_that_of_the_pods_life_played_through(init: list[tuple[int, bool]], main: list[int]) -> None:
    moments, sidecars = [], 0
    for cpu, sidecar in init:
        moments.append(sidecars + cpu)
        sidecars += cpu if sidecar else 0
    moments.append(sidecars + sum(main))
    played = pod(*(container(cpu) for cpu in main), init=tuple(container(cpu, sidecar=s) for cpu, s in init))
    assert effective_requests(played).cpu == max(moments)
