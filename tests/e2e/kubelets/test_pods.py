"""Nodes with kubelets run Pods as any cluster's do, and leave the machine as it was."""

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.kubelets.boxes import mounter, web
from tests.e2e.kubelets.machine import Machine, left_of

from berth_dev import runs
from berth_dev.clusters import Cluster
from berth_dev.processes import poll_until
from berth_dev.states import Options

pytestmark = pytest.mark.integration
FOLDER = "/run/netns"


def _listed(cluster: Cluster, *args: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(cluster.kubectl("get", *args, "-o", "json"))["items"]
    return items


def _roll_out(cluster: Cluster, *names: str) -> None:
    for name in names:
        cluster.kubectl("rollout", "status", name, "--timeout=90s", timeout=100)


def _fetch(address: str, port: int = 8080) -> str:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_pods_run_log_and_answer_on_every_node_and_behind_a_service(cluster: Cluster) -> None:
    nodes = {
        node["metadata"]["name"]: next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready")
        for node in _listed(cluster, "nodes")
    }
    assert nodes == {"node-1": "True", "node-2": "True"}
    cluster.kubectl.apply(web("web", replicas=2))
    _roll_out(cluster, "deployment/web")
    pods = _listed(cluster, "pods", "-l", "app=web")
    try:
        assert {pod["spec"]["nodeName"] for pod in pods} == set(nodes)
        for pod in pods:
            assert _fetch(pod["status"]["podIP"]) == f"hello from {pod['spec']['nodeName']}\n"
            assert cluster.kubectl("logs", pod["metadata"]["name"]) == "serving\n"
        service = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
        asked = [
            cluster.kubectl("exec", pod["metadata"]["name"], "--", "wget", "-qO-", f"http://{service}/")
            for pod in pods
            for _ in range(8)
        ]
        assert {answer.split()[0] for answer in asked} == {"hello"}
        assert {answer.split()[-1] for answer in asked} == set(nodes), "a Service leads to Pods of both nodes"
    finally:
        cluster.kubectl("delete", "deployment,service", "web", "--wait=false")


def test_what_a_privileged_pod_mounts_on_its_node_outlives_it(cluster: Cluster) -> None:
    cluster.kubectl.apply([mounter("mounter", FOLDER)])
    _roll_out(cluster, "daemonset/mounter")
    try:
        cluster.kubectl("delete", "pods", "-l", "app=mounter", "--timeout=60s", timeout=70)
        _roll_out(cluster, "daemonset/mounter")
        for node in cluster.nodes:
            mounted = node.exec(["findmnt", "-rno", "TARGET"]).stdout.split()
            assert mounted.count(f"{FOLDER}/mounter") == 2, "one of the Pod that is gone, one of the Pod that runs"
        assert f"{FOLDER}/mounter" not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    finally:
        cluster.kubectl("delete", "daemonset", "mounter", "--timeout=60s", timeout=70)
        for node in cluster.nodes:
            node.exec(["umount", f"{FOLDER}/mounter", f"{FOLDER}/mounter"], check=False)


def _take_down(cluster: Cluster) -> None:
    cluster.down()


def _crash_and_take_down(cluster: Cluster) -> None:
    for part in cluster.parts.values():
        part.kill()
    cluster.down()


@pytest.mark.parametrize("end", [_take_down, _crash_and_take_down])
def test_a_cluster_with_pods_leaves_the_machine_as_it_was(
    tmp_path: Path, box: Path, end: Callable[[Cluster], None]
) -> None:
    before = Machine.now()
    options = Options(nodes=1, operator=False, agent=False, kubelets=True)
    cluster = Cluster.up("leaving", options, root=tmp_path / "clusters")
    try:
        assert Machine.now() == before, "not even while it is there"
        cluster.import_image(box)
        cluster.kubectl.apply([*web("web", replicas=1), mounter("mounter", FOLDER)])
        _roll_out(cluster, "deployment/web", "daemonset/mounter")
        assert len([thing for thing in left_of(cluster) if thing.startswith("control group")]) > 1
        end(cluster)
        assert left_of(cluster) == []
        assert list(runs.find(cluster.run.run_id)) == []
        assert Machine.now() == before
    finally:
        cluster.down()


def test_a_node_whose_power_is_cut_joins_again_and_runs_its_pods(cluster: Cluster) -> None:
    cluster.kubectl.apply([mounter("steady", FOLDER)])
    _roll_out(cluster, "daemonset/steady")
    try:
        node = cluster.node("node-2")
        former = _processes_of_pods(cluster)
        node.reboot()
        assert former
        assert not former & _processes_of_pods(cluster), "its Pods' processes went with its power"
        deadline = time.monotonic() + 60
        while not _processes_of_pods(cluster):
            assert poll_until(deadline, interval=0.1), "its Pods run again"
        cluster.kubectl("wait", "--for=condition=Ready", "node/node-2", "--timeout=60s", timeout=70)
        _roll_out(cluster, "daemonset/steady")
    finally:
        cluster.kubectl("delete", "daemonset", "steady", "--timeout=60s", timeout=70)


def _processes_of_pods(cluster: Cluster) -> set[tuple[int, int]]:
    """Processes in the control group of node-2, by id and start."""
    group = f"/berth-dev-{cluster.run.run_id}/node-2/"
    found = set()
    for one in runs.find(cluster.run.run_id):
        try:
            listed = Path(f"/proc/{one.pid}/cgroup").read_text(encoding="utf-8")
        except OSError:
            continue
        if group in listed:
            found.add((one.pid, one.start_ticks))
    return found
