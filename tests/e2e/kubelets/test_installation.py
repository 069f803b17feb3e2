"""Berth comes and goes by its chart, on real kubelets, and guests do not notice.

The tests of this file are one life of an installation, in their order: each takes the cluster as the last one left it.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import VM, address_of, http_answer
from tests.e2e.kubelets import rooms
from tests.e2e.kubelets.installations import ANCHORS, GUESTS, NAMESPACE, Installation, wait_until

from berth_dev import releases
from berth_dev.clusters import Cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
NETNS = "/run/netns"
MIB = 1024 * 1024


def test_two_operators_and_an_agent_on_every_node_are_ready(berth: Installation) -> None:
    operators, agents = berth.pods("operator"), berth.pods("agent")
    assert len(operators) == 2
    assert {pod["spec"]["nodeName"] for pod in operators} == {"node-1", "node-2"}
    assert {pod["spec"]["nodeName"] for pod in agents} == {"node-1", "node-2"}
    restarts = [
        status["restartCount"] for pod in (*operators, *agents) for status in pod["status"]["containerStatuses"]
    ]
    assert set(restarts) == {0}
    berth.cluster.kubectl(
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        "hypervisors.berth.dev/node-1",
        "hypervisors.berth.dev/node-2",
        timeout=70,
    )
    assert "Succeeded" in berth.cluster.helm("test", releases.RELEASE, "-n", NAMESPACE, timeout=120)


def test_the_examples_are_applied_and_their_guests_answer(berth: Installation) -> None:
    berth.cluster.kubectl("apply", "-f", "-", stdin=berth.examples())
    berth.wait_ready()
    berth.boots.update(berth.booted())
    assert len(set(berth.boots.values())) == len(GUESTS)
    domains = [node.exec(["virsh", "-q", "list", "--name"]).stdout.split() for node in berth.cluster.nodes]
    assert sum(len(names) for names in domains) == len(GUESTS)


def test_nothing_in_what_was_applied_differs_from_what_is_there(berth: Installation) -> None:
    berth.wait_ready()
    assert berth.cluster.kubectl("diff", "-f", "-", stdin=berth.examples()) == ""


def test_the_anchor_pod_keeps_the_room_of_a_nodes_vms_from_pods(berth: Installation) -> None:
    vms = berth.listed(VM)
    anchors = {pod["spec"]["nodeName"]: pod for pod in berth.listed("pods", "-n", NAMESPACE, "-l", ANCHORS)}
    node = next(iter(vm["status"]["nodeName"] for vm in vms))
    wait_until(lambda: rooms.requested(berth.anchor(node)) == rooms.claimed(vms, node), "the anchor is resized")
    assert anchors[node]["metadata"]["uid"] == berth.anchor(node)["metadata"]["uid"], "in place"
    berth.cluster.kubectl.apply([rooms.greedy("greedy", node, rooms.free_memory(berth.cluster, node) + MIB)])
    try:
        reason = "jsonpath={.status.conditions[?(@.type=='PodScheduled')].reason}=Unschedulable"
        berth.cluster.kubectl("wait", f"--for={reason}", "pod/greedy", "--timeout=30s", timeout=40)
    finally:
        berth.cluster.kubectl("delete", "pod", "greedy", "--timeout=30s", timeout=40)


def test_a_vm_does_not_get_the_room_that_a_pod_has(berth: Installation) -> None:
    node = "node-1"
    berth.cluster.kubectl.apply([rooms.greedy("greedy", node, rooms.free_memory(berth.cluster, node) - 512 * MIB)])
    own = {"cpu": {"cores": 1}, "memory": {"size": "1Gi"}, "nodeName": node}
    try:
        try:
            berth.cluster.kubectl("wait", "--for=condition=Ready", "pod/greedy", "--timeout=60s", timeout=70)
            berth.cluster.kubectl.apply([berth.another("large", **own)])
            wait_until(lambda: berth.phase("large") == "Unschedulable", "there is no room for it")
        finally:
            berth.cluster.kubectl("delete", "pod", "greedy", "--timeout=30s", timeout=40)
        wait_until(lambda: berth.phase("large") == "Running", "there is room again", seconds=120)
    except AssertionError:
        berth.say(json.dumps([berth.vm("large")["status"], berth.anchor(node)], indent=1))
        raise
    finally:
        berth.cluster.kubectl("delete", VM, "large", "--ignore-not-found", "--timeout=60s", timeout=70)


def test_guests_outlive_their_agents_pod_and_keep_their_network(berth: Installation) -> None:
    before = _sandboxes(berth.cluster)
    assert sum(len(names) for names in before.values()) == len(GUESTS)
    former = {pod["metadata"]["uid"] for pod in berth.pods("agent")}
    berth.cluster.kubectl(
        "delete", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=agent", "--timeout=60s", timeout=70
    )
    assert berth.booted() == berth.boots, "while no agent runs, guests answer"
    berth.cluster.kubectl("rollout", "status", "-n", NAMESPACE, "daemonset/berth-agent", "--timeout=90s", timeout=100)
    assert not former & {pod["metadata"]["uid"] for pod in berth.pods("agent")}
    assert _sandboxes(berth.cluster) == before
    wait_until(lambda: _are_served(berth.cluster, before), "a DHCP server for each guest")
    berth.wait_ready()
    assert berth.booted() == berth.boots


def test_an_upgrade_to_other_images_replaces_every_pod_and_no_guest(berth: Installation) -> None:
    former = {pod["metadata"]["uid"] for kind in ("operator", "agent") for pod in berth.pods(kind)}
    version = berth.pods("agent")[0]["spec"]["containers"][0]["image"].rpartition(":")[2]
    for node in berth.cluster.nodes:
        for name in ("berth-operator", "berth-agent"):
            node.tag_image(f"{name}:{version}", f"{name}:next")
    berth.install(
        "upgraded",
        "--set",
        "operator.image.tag=next",
        "--set",
        "agent.image.tag=next",
        "--set",
        "agent.maxUnavailable=1",
    )
    pods = [pod for kind in ("operator", "agent") for pod in berth.pods(kind) if not _is_ending(pod)]
    assert not former & {pod["metadata"]["uid"] for pod in pods}
    assert {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in pods} == {"next"}
    berth.wait_ready()
    assert berth.booted() == berth.boots


def test_a_new_vm_starts_after_the_upgrade(berth: Installation) -> None:
    berth.cluster.kubectl.apply([berth.another("extra", className="small")])
    berth.cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", f"{VM}/extra", timeout=130)
    assert http_answer(address_of(berth.vm("extra")))["hostname"] == "extra"
    berth.cluster.kubectl("delete", VM, "extra", "--timeout=60s", timeout=70)


def test_guests_run_on_when_berth_is_uninstalled_and_are_taken_over_when_it_comes_back(berth: Installation) -> None:
    berth.cluster.helm("uninstall", releases.RELEASE, "-n", NAMESPACE, "--wait", timeout=120)
    wait_until(lambda: not berth.pods("operator") and not berth.pods("agent"), "Berth's Pods are gone")
    assert {vm["metadata"]["name"] for vm in berth.listed(VM)} == set(GUESTS)
    assert berth.booted() == berth.boots
    berth.install("installed again, with guests there")
    berth.wait_ready()
    assert berth.booted() == berth.boots


def test_deleted_vms_leave_nothing_on_their_nodes(berth: Installation) -> None:
    berth.cluster.kubectl("delete", VM, "--all", "--timeout=90s", timeout=100)
    for node in berth.cluster.nodes:
        assert node.exec(["virsh", "-q", "list", "--all", "--name"]).stdout.split() == []
        assert not list(node.path("/run/netns").iterdir())
        assert not node.guests()


def _is_ending(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _sandboxes(cluster: Cluster) -> dict[str, set[str]]:
    """The names of the network namespaces that each node has for its guests."""
    return {node.name: {path.name for path in node.path(NETNS).iterdir()} for node in cluster.nodes}


def _are_served(cluster: Cluster, sandboxes: dict[str, set[str]]) -> bool:
    """Whether a DHCP server runs in each sandbox."""
    return all(
        any(_is_dhcp_server(pid) for pid in cluster.node(node).exec(["ip", "netns", "pids", name]).stdout.split())
        for node, names in sandboxes.items()
        for name in names
    )


def _is_dhcp_server(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "dnsmasq"
    except OSError:  # it has ended meanwhile
        return False
