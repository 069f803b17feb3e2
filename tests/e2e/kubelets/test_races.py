"""A Pod and a VM want the last room of a node at the same moment: one of them gets it, whoever comes first.

Two nodes are raced for side by side. All changes of Pods and VMs are recorded; what must hold is looked for at every
one of them, not only at the end.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import pytest
from tests.e2e.kubelets import rooms
from tests.e2e.kubelets.allocations import allocated, anchor_allocation, held, is_admitted, size_of
from tests.e2e.kubelets.blanks import blank
from tests.e2e.kubelets.installations import NAMESPACE, Installation
from tests.e2e.kubelets.records import PODS, VMS, Change, Key, Recorder, administrator
from tests.integration.security.wire import Request

from berth_api.anchors import LEAST, Size, anchor_name
from berth_dev.clusters import Cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
MIB = 1024 * 1024
NODES = ("node-1", "node-2")
ROOM = Size(700, 1000 * MIB)
"""What is left on each node for Pods: enough for either, not for both. Of the memory VMs are not given the 512 MiB that
a Hypervisor reserves by default."""
SETTLED_WITHIN = 60.0


@dataclass(frozen=True)
class Rival:
    """What is wanted, as a Pod and as a VM."""

    pod: Size
    vm: Mapping[str, Any]


RIVALS = {
    "memory": Rival(Size(1, 700 * MIB), {"cpu": {"cores": 1}, "memory": {"size": "256Mi"}}),
    "cpu": Rival(Size(400, MIB), {"cpu": {"cores": 2}, "memory": {"size": "64Mi"}}),
}


class Race:
    """One Pod and one VM, and what became of them.

    Args:
        recorder: Follows Pods and VMs.
        cluster: Where they race.
        name: Of both.
        node: Where both want to be.
        rival: What they want.
    """

    def __init__(self, recorder: Recorder, cluster: Cluster, name: str, node: str, rival: Rival) -> None:
        self._recorder, self._cluster, self._name, self._node = recorder, cluster, name, node
        self._pod = rooms.greedy(name, node, rival.pod.memory, rival.pod.cpu)
        self._vm = blank(name, nodeName=node, **rival.vm)

    @property
    def pod(self) -> Mapping[str, Any]:
        return self._recorder.get(PODS, self._name)

    @property
    def vm(self) -> Mapping[str, Any]:
        return self._recorder.get(VMS, self._name)

    def create_pod(self) -> None:
        self._send("POST", "/api/v1/namespaces/default/pods", self._pod)

    def create_vm(self) -> None:
        self._send("POST", "/apis/berth.dev/v1alpha1/namespaces/default/virtualmachines", self._vm)

    def at_once(self) -> None:
        barrier = Barrier(2, timeout=10)

        def start(create: Callable[[], None]) -> None:
            barrier.wait()
            create()

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(start, (self.create_pod, self.create_vm)))

    def pod_first(self) -> None:
        self.create_pod()
        self.create_vm()

    def vm_first(self) -> None:
        self.create_vm()
        self.create_pod()

    def vm_when_pod_is_bound(self) -> None:
        self.create_pod()
        self._wait(lambda: "nodeName" in self.pod.get("spec", {}), "the Pod is bound")
        self.create_vm()

    def pod_when_vm_is_bound(self) -> None:
        self.create_vm()
        self._wait(lambda: "nodeName" in self.vm.get("status", {}), "the VM is bound")
        self.create_pod()

    def pod_when_anchor_is_to_grow(self) -> None:
        self.create_vm()
        self._wait(lambda: self._requested() != LEAST, "the anchor is resized")
        self.create_pod()

    def settle(self) -> str:
        """Wait until one has the room and the other was told so; returns which."""
        self._wait(lambda: self._winner() is not None, "one of them has the room")
        return str(self._winner())

    def clear(self) -> None:
        """Take both away, and wait until the room is free again, for Pods and VMs."""
        self._send("DELETE", f"/api/v1/namespaces/default/pods/{self._name}")
        self._send("DELETE", f"/apis/berth.dev/v1alpha1/namespaces/default/virtualmachines/{self._name}")
        self._wait(lambda: not self.pod and not self.vm, "both are gone")
        pods = self._recorder
        self._wait(lambda: anchor_allocation(pods.every(PODS), self._node) == LEAST, "the anchor is small again")

    def story(self) -> str:
        return f"{self._name} on {self._node}: Pod {self.pod.get('status')}, VM {self.vm.get('status')}"

    def _winner(self) -> str | None:
        pod, vm = self.pod.get("status", {}), self.vm.get("status", {})
        pod_lost = pod.get("phase") == "Failed" or any(
            each["type"] == "PodScheduled" and each.get("reason") == "Unschedulable"
            for each in pod.get("conditions", ())
        )
        if pod.get("phase") == "Running" and vm.get("phase") == "Unschedulable":
            return "Pod"
        return "VM" if vm.get("phase") == "Running" and pod_lost else None

    def _requested(self) -> Size:
        anchor = self._recorder.get(PODS, anchor_name(self._node), NAMESPACE)
        return size_of(anchor["spec"]["containers"][0]["resources"]["requests"]) if anchor else LEAST

    def _wait(self, holds: Callable[[], bool], title: str) -> None:
        try:
            self._recorder.wait(holds, title, SETTLED_WITHIN)
        except AssertionError as error:
            error.add_note(self.story())
            raise

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        session = administrator(self._cluster)
        try:
            answer = session.send(Request(method, path, body))
        finally:
            session.close()
        assert answer.status in {200, 201, 202}, answer.message


ORDERS: tuple[Callable[[Race], None], ...] = (
    Race.at_once,
    Race.pod_first,
    Race.vm_first,
    Race.vm_when_pod_is_bound,
    Race.pod_when_vm_is_bound,
    Race.pod_when_anchor_is_to_grow,
)


@pytest.fixture
def crowded(berth: Installation) -> Iterator[Cluster]:
    """Two nodes with `ROOM` left on each."""
    cluster = berth.cluster
    names = [f"filling-{node}" for node in NODES]
    for name, node in zip(names, NODES, strict=True):
        memory, cpu = rooms.free_memory(cluster, node) - ROOM.memory, rooms.free_cpu(cluster, node) - ROOM.cpu
        cluster.kubectl.apply([rooms.greedy(name, node, memory, cpu)])
    try:
        pods = [f"pod/{name}" for name in names]
        cluster.kubectl("wait", "--for=condition=Ready", *pods, "--timeout=60s", timeout=70)
        yield cluster
    finally:
        cluster.kubectl("delete", "pod", *names, "--timeout=30s", timeout=40)


def test_of_a_pod_and_a_vm_that_want_the_last_room_at_once_one_gets_it(crowded: Cluster, berth: Installation) -> None:
    allocatable = {node["metadata"]["name"]: size_of(node["status"]["allocatable"]) for node in berth.listed("nodes")}
    with Recorder(crowded, PODS, VMS) as recorder, ThreadPoolExecutor(len(NODES)) as threads:
        begun = recorder.changes[-1].at
        raced = threads.map(lambda node: list(_races(recorder, crowded, node)), NODES)
        won = Counter(itertools.chain.from_iterable(raced))
        berth.say(f"{won.total()} races in {recorder.changes[-1].at - begun:.1f} s: {dict(won)}")
    for change, there in recorder.moments():
        _check(change, there, allocatable)
    assert set(won) == {"Pod", "VM"}, "or it is no race"


def _races(recorder: Recorder, cluster: Cluster, node: str) -> Iterator[str]:
    """Race in every order for either resource, one right after the other; yields who won."""
    for number, ((resource, rival), order) in enumerate(itertools.product(RIVALS.items(), ORDERS)):
        race = Race(recorder, cluster, f"{resource}-{number}-{node}", node, rival)
        order(race)
        winner = race.settle()
        race.clear()
        yield winner


def _check(change: Change, there: Mapping[Key, Mapping[str, Any]], allocatable: Mapping[str, Size]) -> None:
    """What must hold at every moment."""
    pods = [thing for key, thing in there.items() if key[0] == PODS]
    vms = [thing for key, thing in there.items() if key[0] == VMS]
    for node in NODES:
        given = allocated(pods, node)
        assert allocatable[node].covers(given), f"{node} has given away {given} after {change}"
        claims, anchor = held(vms, node), anchor_allocation(pods, node)
        assert anchor.covers(claims), f"VMs hold {claims} of {node}, which has given them {anchor}, after {change}"
        running = {vm["metadata"]["name"] for vm in vms if vm.get("status", {}).get("phase") == "Running"}
        both = running & {pod["metadata"]["name"] for pod in pods if is_admitted(pod)}
        assert not both, f"both have the room after {change}"
