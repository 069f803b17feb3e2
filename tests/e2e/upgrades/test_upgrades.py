"""Berth is upgraded from the release before while VMs are there in every state, and those that run do not notice.

The tests of this file are one life of an installation, in their order: each takes the cluster as the last one left it.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.utils.quantity import parse_quantity
from tests.e2e.kubelets import rooms
from tests.e2e.traces import PATIENCE, Traces, all_traces, traces
from tests.e2e.upgrades.conftest import Release
from tests.e2e.upgrades.watches import Watch
from tests.e2e.upgrades.workloads import (
    ALL,
    ENDED,
    HALTED,
    PAUSED,
    RESTARTED_AT,
    RUNNING,
    UNPLACEABLE,
    Workload,
    examples,
    vm,
)

from berth_dev import releases
from berth_dev.berthparts import NAMESPACE
from berth_dev.clusters import Cluster
from berth_dev.processes import ProcessIdentity, poll_until
from berth_dev.progress import timed_lines

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

VM = "virtualmachines.berth.dev"
MIB = 2**20
KINDS = "virtualmachines,virtualmachineclasses,clustervirtualmachineimages,virtualnetworks,storagepools,hypervisors"
KEPT = (
    *(
        "nodeName",
        "claim",
        "admittedClaim",
        "stoppedClaim",
        "phase",
        "interfaces",
        "disks",
        "domainUUID",
        "machineType",
    ),
    *("startedAt", "restartedAt", "restartCount", "endReason"),
)
"""What of a VM's status no upgrade changes."""
FEW = 6
"""Writes of an object's status that the turn of operators and of its agent may take."""

Object = Mapping[str, Any]


@dataclass
class Installation:
    """The cluster, and what it was like before something happened to it."""

    cluster: Cluster
    vms: Workload
    clean: Traces = field(default_factory=dict)
    boots: dict[str, str] = field(default_factory=dict)
    processes: dict[str, tuple[str, ProcessIdentity]] = field(default_factory=dict)
    domains: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, Object] = field(default_factory=dict)
    anchors: dict[str, tuple[str, int]] = field(default_factory=dict)

    def note(self) -> None:
        """Take down what must be the same afterwards, once nothing changes any more."""
        deadline = time.monotonic() + 60
        while not are_just(anchors(self.cluster), claimed(self.vms)):
            assert poll_until(deadline, interval=0.5), "an anchor Pod is not what is claimed on its node"
        self.boots, self.processes, self.domains = self.vms.boots(), self.vms.processes(), self.vms.domains()
        self.statuses = kept(self.vms)
        self.anchors = anchors(self.cluster)


@pytest.fixture(scope="module")
def berth(cluster: Cluster) -> Installation:
    return Installation(cluster, Workload(cluster))


def listed(cluster: Cluster, *what: str) -> list[Object]:
    items: list[Object] = json.loads(cluster.kubectl("get", *what, "-o", "json"))["items"]
    return items


def kept(vms: Workload) -> dict[str, Object]:
    return {name: {key: each["status"].get(key) for key in KEPT} for name, each in vms.all().items()}


def anchors(cluster: Cluster) -> dict[str, tuple[str, int]]:
    """The UID of each node's anchor Pod, and the bytes of memory that it requests."""
    pods = listed(cluster, "pods", "-n", NAMESPACE, "-l", "berth.dev/anchor=true")
    return {pod["spec"]["nodeName"]: (pod["metadata"]["uid"], rooms.requested(pod)) for pod in pods}


def claimed(vms: Workload) -> dict[str, int]:
    """Bytes of memory that VMs which are not stopped claim, by node."""
    statuses = [each["status"] for each in vms.all().values() if "claim" in each["status"]]
    held = [status for status in statuses if status.get("stoppedClaim") != status["claim"]["id"]]
    return {
        node.name: sum(int(parse_quantity(each["claim"]["memory"])) for each in held if each["nodeName"] == node.name)
        for node in vms.cluster.nodes
    }


def are_just(there: Mapping[str, tuple[str, int]], wanted: Mapping[str, int]) -> bool:
    """Whether anchors request what is claimed: a MiB at least, and less than one more."""
    return all(0 <= there[node][1] - max(MIB, size) < MIB for node, size in wanted.items())


def images(cluster: Cluster) -> set[str]:
    """What Berth's Pods run."""
    pods = listed(cluster, "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component in (operator,agent)")
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return {pod["spec"]["containers"][0]["image"].rpartition("/")[2] for pod in alive}


def images_of(release: Release) -> set[str]:
    version = yaml.safe_load((release.chart / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
    return {f"berth-operator:{version}", f"berth-agent:{version}"}


def condition(thing: Object, kind: str) -> str:
    return next((str(c["status"]) for c in thing["status"].get("conditions", ()) if c["type"] == kind), "")


def assert_same(berth: Installation) -> None:
    """Nothing that runs was touched, and what is said of it is what was said."""
    assert berth.vms.processes() == berth.processes
    assert berth.vms.boots() == berth.boots
    assert berth.vms.domains() == berth.domains
    assert kept(berth.vms) == berth.statuses
    there = anchors(berth.cluster)
    # One that stands for nothing is made anew where the releases' anchors differ, and harms nobody.
    assert {node: there[node] for node, (_, size) in berth.anchors.items() if size > MIB} == {
        node: anchor for node, anchor in berth.anchors.items() if anchor[1] > MIB
    }


def assert_calm(berth: Installation, machines: Watch, hypervisors: Watch) -> None:
    """All the while, VMs that run were Ready and where they are, and nothing was written over and over."""
    for name in berth.boots:
        for said in machines.changes.get(name, []):
            assert condition(said, "Ready") == "True", said
            assert {key: said["status"].get(key) for key in KEPT} == berth.statuses[name]
    for watch in (machines, hypervisors):
        counts = {name: len(said) for name, said in watch.changes.items()}
        timed_lines()(f"changes: {counts}")
        assert all(count <= FEW for count in counts.values()), counts


def told(cluster: Cluster) -> int:
    """How often anything was told of VMs in Events."""
    events = listed(cluster, "events", "--field-selector", "involvedObject.kind=VirtualMachine")
    return sum(int(each.get("count") or (each.get("series") or {}).get("count") or 1) for each in events)


def change(berth: Installation, title: str, release: Release, chart: Path | None = None) -> None:
    """Bring a release to the cluster while everything is watched, and compare."""
    berth.note()
    before, begin = told(berth.cluster), time.monotonic()
    with Watch(berth.cluster, VM) as machines, Watch(berth.cluster, "hypervisors.berth.dev") as hypervisors:
        if chart is not None:
            releases.install(berth.cluster, chart)
        else:
            rollback(berth.cluster)
        timed_lines()(f"{title}: {time.monotonic() - begin:.1f} s")
        assert images(berth.cluster) == images_of(release)
        berth.vms.wait_ready(*berth.boots)
        ready = ("wait", "--for=condition=Ready", "--timeout=60s")
        berth.cluster.kubectl(*ready, "hypervisors.berth.dev", "--all", timeout=70)
        assert_same(berth)
    assert_calm(berth, machines, hypervisors)
    timed_lines()(f"Events about VMs: {told(berth.cluster) - before}")
    assert told(berth.cluster) - before <= len(ALL)


def rollback(cluster: Cluster) -> None:
    cluster.helm("rollback", releases.RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "240s", timeout=300)
    cluster.kubectl("rollout", "status", "-n", NAMESPACE, "daemonset/berth-agent", "--timeout=90s", timeout=100)


def test_the_former_release_has_vms_in_every_state(berth: Installation, former: Release) -> None:
    releases.install(berth.cluster, former.chart)
    assert images(berth.cluster) == images_of(former)
    berth.clean = {name: of_vms(found) for name, found in all_traces(berth.cluster).items()}
    berth.vms.make(former)
    assert berth.vms.read("web-3")["status"]["restartCount"] == 1
    assert {name: each["status"]["phase"] for name, each in berth.vms.all().items()} == {
        **dict.fromkeys(RUNNING, "Running"),
        HALTED: "Stopped",
        ENDED: "Stopped",
        PAUSED: "Paused",
        UNPLACEABLE: "Unschedulable",
    }


def test_an_upgrade_with_live_vms_changes_nothing_about_them(berth: Installation, present: Release) -> None:
    change(berth, "upgraded", present, present.chart)


def test_the_definitions_are_the_present_ones_and_what_is_stored_is_valid(
    berth: Installation, former: Release, present: Release
) -> None:
    assert_served(berth.cluster, present)
    left = berth.cluster.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name")
    assert "berth-crds" not in left, "who may change definitions is gone with the upgrade"
    # Written once more with all validations, not merely readable.
    berth.cluster.kubectl("label", KINDS, "--all", "looked=at")
    berth.cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=examples(former, berth.cluster))
    chart = berth.cluster.helm("get", "manifest", releases.RELEASE, "-n", NAMESPACE)
    by_the_server = ("--server-side", "--force-conflicts", "--field-manager=gitops")
    for how, what in (((), examples(former, berth.cluster)), ((), chart), (by_the_server, chart)):
        assert berth.cluster.kubectl("diff", *how, "-f", "-", stdin=what) == "", "out of sync, for a GitOps tool"


def test_the_new_release_goes_on_with_the_old_vms_and_starts_new_ones(berth: Installation) -> None:
    vms = berth.vms
    vms.patch(HALTED, runStrategy="Always")
    vms.patch(PAUSED, paused=False)
    vms.patch("web-3", restartedAt=RESTARTED_AT.replace("2026", "2027"))
    berth.cluster.kubectl("patch", VM, UNPLACEABLE, "--type=merge", "-p", '{"spec": {"nodeName": "node-1"}}')
    berth.cluster.kubectl.apply([vm("young", nodeName="node-2")])
    vms.wait("web-3", ".status.restartCount", "2")
    vms.wait_ready(*RUNNING, HALTED, PAUSED, UNPLACEABLE, "young")
    answers = {name: vms.answer(name) for name in (HALTED, PAUSED, "web-3", "young")}
    assert {name: said["boots"] for name, said in answers.items()} == {
        HALTED: "2",  # on the disk that it had
        PAUSED: "1",
        "web-3": "3",
        "young": "1",
    }
    assert answers["young"]["hostname"] == "young"
    assert vms.read(ENDED)["status"]["phase"] == "Stopped", "its one run is over"


def test_vms_of_the_former_release_leave_nothing_when_the_new_one_deletes_them(berth: Installation) -> None:
    delete_from(berth, "node-1")


def test_the_former_release_comes_back_as_quietly_and_deletes_what_is_left(
    berth: Installation, former: Release, present: Release
) -> None:
    change(berth, "rolled back", former)
    assert_served(berth.cluster, present)
    delete_from(berth, "node-2")


def delete_from(berth: Installation, node: str) -> None:
    """Delete the VMs of a node, which then is as it was before the first of them."""
    there = [name for name, each in berth.vms.all().items() if each["status"].get("nodeName") == node]
    assert there, f"{node} never had a VM"
    berth.cluster.kubectl("delete", VM, *there, "--timeout=90s", timeout=100)
    deadline = time.monotonic() + PATIENCE
    while (left := of_vms(traces(berth.cluster.node(node)))) != berth.clean[node]:
        if not poll_until(deadline, interval=0.5):
            assert left == berth.clean[node], "a VM has left something behind"


def of_vms(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """What of a node's traces is not of its Pods, which come and go with releases."""
    return {
        **found,
        "links": [link for link in found["links"] if not link.startswith("veth")],
        "files": [file for file in found["files"] if not file.startswith("/var/lib/cni/")],
    }


def assert_served(cluster: Cluster, release: Release) -> None:
    """The server goes by the definitions of a release."""
    for file in (release.tree / "crds").glob("*.yaml"):
        wanted = yaml.safe_load(file.read_text(encoding="utf-8"))
        there = json.loads(cluster.kubectl("get", "crd", wanted["metadata"]["name"], "-o", "json"))
        schemas = [each["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for each in (there, wanted)]
        assert without_empty(schemas[0]) == without_empty(schemas[1]), file.name


def without_empty(schema: Any) -> Any:
    """A schema as the server keeps it: without empty properties."""
    if isinstance(schema, dict):
        return {key: without_empty(value) for key, value in schema.items() if not (key == "properties" and value == {})}
    return [without_empty(each) for each in schema] if isinstance(schema, list) else schema
