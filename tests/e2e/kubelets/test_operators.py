"""Two operators on real nodes: one leads, and when it goes, hard or gently, the other goes on where it stood.

All the while VMs are applied. None is bound twice, all of them run, and guests of before do not notice.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

import pytest
from tests.e2e.conftest import VM, image
from tests.e2e.kubelets import leaders
from tests.e2e.kubelets.blanks import blank
from tests.e2e.kubelets.installations import NAMESPACE, Installation
from tests.e2e.kubelets.records import LEASES, PODS, VMS, Recorder, administrator
from tests.integration.security.wire import Request

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
STEADY = ("steady-1", "steady-2")
TAKEN_OVER_WITHIN = 15.0
_ROLLED_OUT = "120s"


@pytest.fixture(scope="module")
def steady(berth: Installation) -> Iterator[Installation]:
    """A guest on each node that was there before, and tells when it was booted."""
    root = [{"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "tiny"}, "size": "64Mi"}]
    nic = [{"name": "default", "networkName": "default"}]
    guests = [
        blank(name, nodeName=f"node-{number}", disks=root, networks=nic, memory={"size": "96Mi"})
        for number, name in enumerate(STEADY, 1)
    ]
    berth.cluster.kubectl.apply([image("tiny", berth.cluster), *guests])
    try:
        berth.wait_ready(STEADY)
        yield berth
    finally:
        berth.remove(*STEADY)


@dataclass
class Works:
    """What goes on while operators come and go."""

    berth: Installation
    recorder: Recorder
    boots: dict[str, str]

    def apply(self, *names: str) -> None:
        """Apply VMs, one right after the other."""
        session = administrator(self.berth.cluster)
        try:
            for name in names:
                answer = session.send(
                    Request("POST", "/apis/berth.dev/v1alpha1/namespaces/default/virtualmachines", blank(name))
                )
                assert answer.status == 201, answer.message
        finally:
            session.close()

    def is_bound(self, name: str) -> bool:
        return "claim" in self.recorder.get(VMS, name).get("status", {})

    def is_ready(self, name: str) -> bool:
        conditions = self.recorder.get(VMS, name).get("status", {}).get("conditions", ())
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def names(self) -> list[str]:
        """The VMs that were applied meanwhile."""
        return [name for vm in self.recorder.every(VMS) if (name := vm["metadata"]["name"]) not in STEADY]

    def is_led_by_another(self, former: str) -> bool:
        return leaders.leader(self.recorder) not in {"", former}

    def taken_over(self, former: str, killed_at: float) -> None:
        """See another Pod lead and bind, in time."""
        seen = self.recorder.wait(lambda: self.is_led_by_another(former), "another one leads", TAKEN_OVER_WITHIN)
        epoch = leaders.lease(self.recorder)["leaseTransitions"]

        def binds() -> bool:
            claims = (vm.get("status", {}).get("claim", {}) for vm in self.recorder.every(VMS))
            return any(claim.get("epoch") == epoch for claim in claims)

        bound = self.recorder.wait(binds, "it binds", TAKEN_OVER_WITHIN)
        self.berth.say(f"leads after {seen - killed_at:.1f} s, binds after {bound - killed_at:.1f} s")
        assert bound - killed_at < TAKEN_OVER_WITHIN

    def comings_and_goings(self) -> int:
        """How many of Berth's Pods were seen so far, and were seen go."""
        seen = {
            (change.key[2], change.thing is None)
            for change in list(self.recorder.changes)
            if change.key[0] == PODS and change.key[1] == NAMESPACE
        }
        return len(seen)

    def wait_for_coming_or_going(self, seen: int, done: Callable[[], bool]) -> None:
        """Wait until one of Berth's Pods comes or goes, or none does any more."""
        self.recorder.wait(lambda: done() or self.comings_and_goings() > seen, "Pods come and go")

    def all_is_well(self) -> None:
        """All VMs are Ready, each was bound once, no term had two leaders, and the steady guests have not noticed."""
        try:
            self.recorder.wait(lambda: all(map(self.is_ready, self.names())), "all are Ready", 120)
        except AssertionError as error:
            lacking = (name for name in self.names() if not self.is_ready(name))
            error.add_note("\n\n".join(leaders.history(self.recorder.changes, name) for name in lacking))
            raise
        bindings = leaders.bindings(self.recorder.changes)
        assert {name: bound.faults for name, bound in bindings.items() if bound.faults} == {}
        assert all(bindings[name].admitted for name in self.names())
        again = sum(len(bound.claims) - 1 for bound in bindings.values() if bound.claims)
        self.berth.say(f"{len(bindings)} VMs, {again} of them bound anew after their first claim was refused")
        holders = [(epoch, holder) for epoch, holder in leaders.terms(self.recorder.changes) if holder]
        assert len({epoch for epoch, _ in holders}) == len(holders)
        assert self.berth.booted(STEADY) == self.boots


@pytest.fixture
def works(steady: Installation) -> Iterator[Works]:
    """Both operators and both agents are there at first, and again at the end."""
    _wait_for_parts(steady)
    steady.spread_operators()
    with Recorder(steady.cluster, VMS, LEASES, PODS) as recorder:
        made = Works(steady, recorder, steady.booted(STEADY))
        yield made
        steady.remove(*made.names())
    _wait_for_parts(steady)


def _wait_for_parts(berth: Installation) -> None:
    for part in ("deployment/berth-operator", "daemonset/berth-agent"):
        rollout = ("rollout", "status", "-n", NAMESPACE, part, f"--timeout={_ROLLED_OUT}")
        berth.cluster.kubectl(*rollout, timeout=130)


def test_a_leader_that_is_killed_is_followed_by_the_other_one(works: Works) -> None:
    former = leaders.leader(works.recorder)
    process = leaders.operator_process(works.berth.cluster, works.recorder.get(PODS, former, NAMESPACE))
    works.apply("before-1", "before-2", "before-3")
    works.recorder.wait(lambda: works.is_bound("before-1"), "it is at work")
    killed_at = monotonic()
    leaders.kill(process)
    works.apply("during-1", "during-2")
    works.taken_over(former, killed_at)
    works.apply("after-1")
    works.all_is_well()


def test_a_leader_whose_node_loses_all_its_pods_is_followed_by_the_other_one(works: Works) -> None:
    cluster, former = works.berth.cluster, leaders.leader(works.recorder)
    node = cluster.node(works.recorder.get(PODS, former, NAMESPACE)["spec"]["nodeName"])
    works.apply("before-1", "before-2", "before-3")
    works.recorder.wait(lambda: works.is_bound("before-1"), "it is at work")
    killed_at = monotonic()
    leaders.stop_pods(cluster, node)
    try:
        works.apply("during-1", "during-2")
        works.taken_over(former, killed_at)
        assert works.berth.booted(STEADY) == works.boots, "guests run without operator, agent and kubelet"
    finally:
        leaders.start_pods(node)
    works.apply("after-1")
    works.all_is_well()


def test_a_rolling_restart_of_everything_loses_no_event(works: Works) -> None:
    works.apply("leaving", "halting")
    works.recorder.wait(lambda: works.is_ready("leaving") and works.is_ready("halting"), "both run")
    kubectl = works.berth.cluster.kubectl
    deeds: list[Callable[[], object]] = [
        lambda: kubectl("delete", VM, "leaving", "--wait=false"),
        lambda: kubectl("patch", VM, "halting", "--type=merge", "-p", '{"spec":{"runStrategy":"Halted"}}'),
    ]
    kubectl("rollout", "restart", "-n", NAMESPACE, "deployment/berth-operator", "daemonset/berth-agent")
    with ThreadPoolExecutor(1) as threads:
        rolled = threads.submit(_wait_for_parts, works.berth)
        for number in range(8):  # as many as Pods go and come
            seen = works.comings_and_goings()
            works.apply(f"amid-{number}")
            if deeds and number % 3 == 2:
                deeds.pop(0)()
            works.wait_for_coming_or_going(seen, rolled.done)
        rolled.result()
    works.recorder.wait(lambda: not works.recorder.get(VMS, "leaving"), "what was deleted is gone")
    works.recorder.wait(
        lambda: works.recorder.get(VMS, "halting")["status"]["phase"] == "Stopped", "what was halted has stopped"
    )
    works.berth.remove("halting")
    works.all_is_well()
