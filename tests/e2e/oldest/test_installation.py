"""Berth on real kubelets that resize no Pods, below an API server that changes no object: what it does instead.

The tests of this file are one life of an installation, in their order: each takes the cluster as the last one left it.
"""

import json

import pytest
from tests.e2e.conftest import VM, address_of, http_answer
from tests.e2e.kubelets import rooms
from tests.e2e.kubelets.installations import GUESTS, NAMESPACE, Installation, wait_until

from berth_api.fields import FINALIZER
from berth_dev import releases
from berth_dev.kubernetesreleases import OLDEST

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
MIB = 1024 * 1024
NODES = ("node-1", "node-2")


def test_the_release_gets_ready_and_leaves_out_what_the_server_does_not_have(berth: Installation) -> None:
    assert json.loads(berth.cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == OLDEST.version
    kubelets = {node["status"]["nodeInfo"]["kubeletVersion"] for node in berth.listed("nodes")}
    assert kubelets == {OLDEST.version}
    assert "mutatingadmissionpolicies" not in berth.cluster.kubectl("api-resources", "-o", "name")
    for component in ("operator", "agent"):
        pods = berth.pods(component)
        assert {pod["spec"]["nodeName"] for pod in pods} == set(NODES)
        assert {status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"]} == {0}
    ready = ("wait", "--for=condition=Ready", "--timeout=60s", *(f"hypervisors.berth.dev/{node}" for node in NODES))
    berth.cluster.kubectl(*ready, timeout=70)
    assert "Succeeded" in berth.cluster.helm("test", releases.RELEASE, "-n", NAMESPACE, timeout=120)


def test_the_examples_are_applied_and_their_guests_answer(berth: Installation) -> None:
    berth.cluster.kubectl("apply", "-f", "-", stdin=berth.examples())
    berth.wait_ready()
    berth.boots.update(berth.booted())
    assert len(set(berth.boots.values())) == len(GUESTS)
    assert {tuple(vm["metadata"]["finalizers"]) for vm in berth.listed(VM)} == {(FINALIZER,)}, "set by the operator"


def test_nothing_in_what_was_applied_differs_from_what_is_there(berth: Installation) -> None:
    assert berth.cluster.kubectl("diff", "-f", "-", stdin=berth.examples()) == ""


def test_an_anchor_that_is_made_anew_keeps_the_room_of_a_nodes_vms_from_pods(berth: Installation) -> None:
    vms = berth.listed(VM)
    for node in {vm["status"]["nodeName"] for vm in vms}:
        wait_until(lambda node=node: rooms.requested(berth.anchor(node)) == rooms.claimed(vms, node), f"of {node}")
        assert "allocatedResources" not in berth.anchor(node)["status"]["containerStatuses"][0]
    node = vms[0]["status"]["nodeName"]
    berth.cluster.kubectl.apply([rooms.greedy("greedy", node, rooms.free_memory(berth.cluster, node) + MIB)])
    try:
        reason = "jsonpath={.status.conditions[?(@.type=='PodScheduled')].reason}=Unschedulable"
        berth.cluster.kubectl("wait", f"--for={reason}", "pod/greedy", "--timeout=30s", timeout=40)
    finally:
        berth.cluster.kubectl("delete", "pod", "greedy", "--timeout=30s", timeout=40)


def test_another_vm_has_its_nodes_anchor_made_anew_and_disturbs_no_guest(berth: Installation) -> None:
    node = berth.vm(GUESTS[0])["status"]["nodeName"]
    former = berth.anchor(node)["metadata"]["uid"]
    berth.cluster.kubectl.apply([berth.another("extra", className="small", nodeName=node)])
    berth.cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", f"{VM}/extra", timeout=130)
    assert http_answer(address_of(berth.vm("extra")))["hostname"] == "extra"
    assert berth.anchor(node)["metadata"]["uid"] != former
    assert rooms.requested(berth.anchor(node)) == rooms.claimed(berth.listed(VM), node)
    berth.remove("extra")
    assert berth.booted() == berth.boots


def test_a_vm_does_not_get_the_room_that_a_pod_has(berth: Installation) -> None:
    node = "node-1"
    berth.cluster.kubectl.apply([rooms.greedy("greedy", node, rooms.free_memory(berth.cluster, node) - 512 * MIB)])
    own = {"cpu": {"cores": 1}, "memory": {"size": "1Gi"}, "nodeName": node}
    try:
        berth.cluster.kubectl("wait", "--for=condition=Ready", "pod/greedy", "--timeout=60s", timeout=70)
        berth.cluster.kubectl.apply([berth.another("large", **own)])
        wait_until(lambda: berth.phase("large") == "Unschedulable", "there is no room for it")
        berth.cluster.kubectl("delete", "pod", "greedy", "--timeout=30s", timeout=40)
        wait_until(lambda: berth.phase("large") == "Running", "there is room again", seconds=120)
    finally:
        berth.cluster.kubectl("delete", "pod", "greedy", "--ignore-not-found", "--timeout=30s", timeout=40)
        berth.remove("large")
    assert berth.booted() == berth.boots


def test_guests_outlive_their_agents_pods(berth: Installation) -> None:
    former = {pod["metadata"]["uid"] for pod in berth.pods("agent")}
    berth.cluster.kubectl(
        "delete", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=agent", "--timeout=60s", timeout=70
    )
    assert berth.booted() == berth.boots, "while no agent runs, guests answer"
    berth.cluster.kubectl("rollout", "status", "-n", NAMESPACE, "daemonset/berth-agent", "--timeout=90s", timeout=100)
    assert not former & {pod["metadata"]["uid"] for pod in berth.pods("agent")}
    berth.wait_ready()
    assert berth.booted() == berth.boots


def test_an_upgrade_applies_the_crds_and_replaces_every_pod_and_no_guest(berth: Installation) -> None:
    former = {pod["metadata"]["uid"] for component in ("operator", "agent") for pod in berth.pods(component)}
    berth.install("upgraded", "--set", "operator.logLevel=DEBUG", "--set", "agent.logLevel=DEBUG")
    pods = [pod for component in ("operator", "agent") for pod in berth.pods(component)]
    assert not former & {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
    berth.wait_ready()
    assert berth.booted() == berth.boots


def test_guests_run_on_when_berth_is_uninstalled_and_go_when_it_is_back(berth: Installation) -> None:
    berth.cluster.helm("uninstall", releases.RELEASE, "-n", NAMESPACE, "--wait", timeout=120)
    wait_until(lambda: not berth.pods("operator") and not berth.pods("agent"), "Berth's Pods are gone")
    assert {vm["metadata"]["name"] for vm in berth.listed(VM)} == set(GUESTS)
    assert berth.booted() == berth.boots
    berth.install("installed again, with guests there")
    berth.wait_ready()
    assert berth.booted() == berth.boots
    berth.remove("--all")
    for node in berth.cluster.nodes:
        assert node.exec(["virsh", "-q", "list", "--all", "--name"]).stdout.split() == []
        assert not node.guests()
