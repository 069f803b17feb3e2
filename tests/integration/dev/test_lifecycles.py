"""Clusters live side by side, and leave nothing behind, however they end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from berth_dev import Cluster, DevError, Options, PartFailedError, runs, states
from berth_dev.processes import ProcessIdentity
from berth_dev.teardown import take_down

from .conftest import Traces

pytestmark = pytest.mark.integration

KUBELETS = ("--kubelets=1",)
LATER_MOMENTS = ["waiting for containerd", "waiting for the nodes to be Ready"]
MOMENTS = ["addresses", "node-1: namespaces", "waiting for the API", "applying CRDs", "waiting for libvirt"]


def _ready_nodes(cluster: Cluster) -> list[str]:
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    return [
        node["metadata"]["name"]
        for node in nodes
        if not node["spec"].get("taints")
        and any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])
    ]


def test_two_clusters_live_side_by_side_and_leave_nothing(root: Path, bare: Options) -> None:
    own_folders = [Path("/var/lib/cni"), Path("/var/lib/berth"), Path("/run/libvirt")]
    before = [folder.exists() for folder in own_folders]
    one, other = (Cluster.up(name, bare, root=root) for name in ("one", "other"))
    traces = [Traces.of(one), Traces.of(other)]
    assert one.run.index != other.run.index
    assert not traces[0].namespaces & traces[1].namespaces
    for cluster in (one, other):
        assert _ready_nodes(cluster) == ["node-1"]
        uuid = cluster.nodes[0].exec(["virsh", "-q", "-c", "qemu:///system", "list", "--uuid"])
        assert uuid.stdout.strip() == ""
        assert all(part.is_running for part in cluster.parts.values())
    with pytest.raises(DevError, match="already"):
        Cluster.up("one", bare, root=root)

    one.down()
    assert traces[0].left() == []
    assert _ready_nodes(other) == ["node-1"]
    assert {"link", "file", "process"} <= {thing.split()[0] for thing in traces[1].left()}
    with pytest.raises(DevError, match="no cluster 'one'"):
        Cluster.load("one", root=root)

    other.down()
    other.down()
    assert traces[1].left() == []
    assert not root.exists()
    assert [folder.exists() for folder in own_folders] == before


def test_what_was_started_inside_a_node_goes_with_it_even_when_all_its_records_lie(root: Path, bare: Options) -> None:
    cluster = Cluster.up("c", bare, root=root)
    node = cluster.nodes[0]
    traces = Traces.of(cluster)
    guest = _start_cleared([*node.entering, "/usr/bin/env", "-i", "/bin/sleep", "1000"])
    in_sandbox = [*node.entering, "/usr/bin/unshare", "--net", "/usr/bin/env", "-i", "/bin/sleep", "1000"]
    sandboxed = _start_cleared(in_sandbox)
    bystander = _start_cleared(["/usr/bin/env", "-i", "/bin/sleep", "1000"])
    try:
        for part in cluster.parts.values():
            part.kill(signal.SIGKILL)
        record = cluster.run.state / "processes" / f"{node.holder.name}.json"
        record.write_text(json.dumps({"pid": bystander.pid, "start_ticks": 1}), encoding="utf-8")
        assert guest.is_alive()

        cluster.down()

        assert not guest.is_alive()
        assert not sandboxed.is_alive()
        assert bystander.is_alive()
        assert traces.left() == []
    finally:
        for process in (guest, sandboxed, bystander):
            process.end(grace=0)


def _up(name: str, root: Path, *more: str) -> "subprocess.Popen[str]":
    """The command that makes a cluster of one node without Berth; its progress is on stderr."""
    argv = [sys.executable, "-m", "berth_dev", "up", "--cluster", name, "--nodes=1", "--operator=0", "--agent=0", *more]
    environment = {**os.environ, "BERTH_DEV_STATE": str(root)}
    return subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _start_cleared(argv: list[str]) -> ProcessIdentity:
    """Start a program without the mark in its environment, and wait until it has become `sleep`."""
    pid = os.posix_spawn(argv[0], argv, {}, setsid=True)
    while Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() != "sleep":
        os.sched_yield()
    identity = ProcessIdentity.of(pid)
    assert identity is not None
    return identity


@pytest.mark.parametrize(
    ("moment", "more"), [*((moment, ()) for moment in MOMENTS), *((moment, KUBELETS) for moment in LATER_MOMENTS)]
)
def test_a_start_killed_halfway_is_taken_down_whole(root: Path, moment: str, more: tuple[str, ...]) -> None:
    with _up("half", root, *more) as up:
        assert up.stderr is not None
        reached = next((line for line in up.stderr if moment in line), None)
        up.send_signal(signal.SIGKILL)
    assert reached is not None
    run = states.load("half", root)
    assert run is not None
    holder = Cluster(run).nodes[0].holder.identity
    traces = Traces.of(Cluster(run)) if holder else Traces(frozenset(), run.plan.link_prefix, run.state)

    assert take_down("half", say=print, root=root)

    assert traces.left() == []
    assert list(runs.find(run.run_id)) == []
    assert list(Path("/sys/fs/cgroup").rglob(f"*{run.run_id}")) == []
    assert not take_down("half", say=print, root=root)


def test_an_interrupted_start_takes_down_what_it_made(root: Path) -> None:
    with _up("cut", root) as up:
        assert up.stderr is not None
        assert any("waiting for the API" in line for line in up.stderr)
        run = states.load("cut", root)
        assert run is not None
        traces = Traces.of(Cluster(run))
        up.send_signal(signal.SIGTERM)
        assert "taking down" in up.stderr.read()
    assert states.load("cut", root) is None
    assert [path.name for path in run.state.iterdir()] == ["logs"]
    assert [thing for thing in traces.left() if not thing.startswith("file ")] == []


def test_parts_stop_and_start_again_with_their_state(root: Path, bare: Options) -> None:
    cluster = Cluster.up("c", bare, root=root)
    cluster.kubectl("create", "namespace", "kept")
    for name in ("etcd", "kube-apiserver", "node-1.libvirtd"):
        part = cluster.part(name)
        before = part.pid
        part.kill(signal.SIGKILL)
        assert not part.is_running
        cluster.start(name)
        assert part.pid != before
    cluster.part("kube-apiserver").wait_ready()
    assert "kept" in cluster.kubectl("get", "namespace", "kept", "-o", "name")
    assert cluster.nodes[0].exec(["virsh", "-c", "qemu:///system", "version"]).returncode == 0


def test_a_part_that_fails_is_named_with_its_own_words_and_all_but_the_logs_is_taken_down(root: Path) -> None:
    options = Options(nodes=1, agent=False, operator_env={"BERTH_OPERATOR_LOG_LEVEL": "DEAFENING"})
    with pytest.raises(PartFailedError, match="DEAFENING") as failed:
        Cluster.up("c", options, root=root)
    assert failed.value.part == "operator"
    assert failed.value.log.read_text(encoding="utf-8") != ""
    assert [path.name for path in (root / "c").iterdir()] == ["logs"]


def test_a_cluster_made_anew_replaces_the_former_one(root: Path, bare: Options) -> None:
    former = Cluster.up("c", bare, root=root)
    cluster = Cluster.up("c", bare, root=root, anew=True)
    assert cluster.run.run_id != former.run.run_id
    assert _ready_nodes(cluster) == ["node-1"]
    assert list(runs.find(former.run.run_id)) == []
