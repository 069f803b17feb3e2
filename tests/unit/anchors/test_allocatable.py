"""Where nodes have anchors the operator decides as the kubelet will allocate, or agents would refuse what it binds."""

from hypothesis import given
from hypothesis import strategies as st

from berth_api.anchors import Size, anchored
from berth_api.hypervisors import Hypervisor
from berth_api.quantities import from_bytes, from_millis
from berth_operator.inventory import facts_of
from berth_operator.objects import Node

MIB, GIB = 1024**2, 1024**3


def hypervisor(pods: Size, ratio: float) -> Hypervisor:
    status = {
        "capacity": {"cpu": "64", "memory": "256Gi"},
        "podRequests": {"cpu": from_millis(pods.cpu), "memory": from_bytes(pods.memory)},
    }
    return Hypervisor.from_api({"metadata": {"name": "n"}, "spec": {"overcommit": {"cpu": ratio}}, "status": status})


NODE = Node.from_api({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "8", "memory": "16Gi"}}})


def test_what_pods_request_is_not_overcommitted() -> None:
    told = hypervisor(Size(3000, GIB), 4)
    assert facts_of(told, NODE).allocatable.cpu == 4 * 8000 - 3000
    assert facts_of(told, NODE, anchored=True).allocatable.cpu == 4 * 5000
    assert facts_of(told, NODE, anchored=True).allocatable.memory == 15 * GIB


@given(st.integers(0, 9000), st.integers(0, 17 * 1024), st.floats(0.1, 64))
def test_whatever_may_be_claimed_fits_beside_the_pods_in_the_kubelets_count(
    cpu: int, mebibytes: int, ratio: float
) -> None:
    pods, told = Size(cpu, mebibytes * MIB), hypervisor(Size(cpu, mebibytes * MIB), ratio)
    room = facts_of(told, NODE, anchored=True).allocatable
    if room.cpu and room.memory:
        anchor = anchored(Size(room.cpu, room.memory), told.spec.overcommit)
        assert Size(8000, 16 * GIB).covers(anchor + pods)
