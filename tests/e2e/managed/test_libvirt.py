"""A libvirt that Berth brings to a node outlives every Pod of Berth's, and so do its guests.

The tests of this file are one life of an installation, in their order: each takes the cluster as the last one left it.
"""

import json
import os
import signal
from pathlib import Path

import pytest
from tests.e2e.managed.installations import AGENT, FOLDER, NAMESPACE, OTHER, Installation, wait_until

from berth_dev import releases, startup
from berth_libvirt import processes, trees
from berth_libvirt.processes import LIBVIRTD, VIRTLOGD

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
BACK_WITHIN = 20.0
"""Seconds for a libvirtd that was killed: it takes about 2; the rest is for a busy machine."""


def test_libvirtd_runs_beside_the_pods_from_a_tree_of_the_nodes_own(berth: Installation) -> None:
    (tree,) = trees.trees(berth.folder)
    (pod,) = berth.pods()
    assert [status["restartCount"] for status in pod["status"]["containerStatuses"]] == [0, 0]
    for name in (VIRTLOGD, LIBVIRTD):
        daemon = berth.daemon(name)
        assert daemon.tree == tree.name
        assert groups_of(daemon.pid) == {"/berth-libvirt"}
        assert Path(f"/proc/{daemon.pid}/oom_score_adj").read_text(encoding="ascii") == "0\n"
    seen = berth.node.exec(["cat", "/proc/self/mountinfo"]).stdout
    assert [line for line in seen.splitlines() if f"/{FOLDER}/" in line.split()[4]] == [], "no mount is the node's"


def test_a_guest_boots_answers_and_is_nobody_in_the_nodes_control_group(berth: Installation) -> None:
    berth.start("first")
    guest = berth.guest("first")
    assert groups_of(guest.pid) == {"/berth-libvirt"}
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{guest.pid}/status").read_text(encoding="ascii").splitlines()
    )
    assert set(status["Uid"].split()) == {"64055"}
    assert int(status["CapEff"], 16) == 0


def test_a_nodes_libvirtd_is_asked_through_the_container_that_watches_over_it(berth: Installation) -> None:
    ask = ("exec", "-n", NAMESPACE, "daemonset/berth-agent", "-c", "libvirtd", "--", "virsh", "list", "--name")
    assert berth.cluster.kubectl(*ask).split() == ["default_first"]
    said = berth.cluster.kubectl("logs", "-n", NAMESPACE, "daemonset/berth-agent", "-c", "libvirtd")
    told = [json.loads(line) for line in said.splitlines()]
    assert {line["daemon"] for line in told if line["event"] == "runs"} == {VIRTLOGD, LIBVIRTD}
    assert {line["node"] for line in told} == {"node-1"}


def test_what_is_libvirts_is_read_only_to_it_but_for_its_state(berth: Installation) -> None:
    table = Path(f"/proc/{berth.guest('first').pid}/mountinfo").read_text(encoding="utf-8").splitlines()
    options = {line.split()[4]: line.split()[5].split(",") for line in table}
    assert "ro" in options["/"]
    assert {"/dev", "/proc", "/sys", "/var/lib/berth", "/var/lib/libvirt", "/run/libvirt"} <= options.keys()
    assert not any("/var/run/secrets" in line or "kubelet" in line for line in table), "nothing of the Pod's"


def test_guests_and_libvirtd_outlive_the_pod_and_the_next_one_takes_them_over(berth: Installation) -> None:
    daemons, guest = [berth.daemon(name) for name in (VIRTLOGD, LIBVIRTD)], berth.guest("first")
    sandboxes = sorted(path.name for path in berth.node.path("/run/netns").iterdir())
    former = berth.pods()[0]["metadata"]["uid"]
    berth.cluster.kubectl("delete", "pods", "-n", NAMESPACE, "-l", AGENT, "--timeout=60s", timeout=70)
    assert berth.booted("first") == berth.boots["first"]
    berth.cluster.kubectl("rollout", "status", "-n", NAMESPACE, "daemonset/berth-agent", "--timeout=90s", timeout=100)
    assert former not in {pod["metadata"]["uid"] for pod in berth.pods()}
    assert [berth.daemon(name) for name in (VIRTLOGD, LIBVIRTD)] == daemons, "the same processes"
    assert berth.guest("first") == guest
    assert sorted(path.name for path in berth.node.path("/run/netns").iterdir()) == sandboxes
    berth.wait_ready("first")
    assert berth.booted("first") == berth.boots["first"]


def test_a_libvirtd_that_is_killed_is_back_in_seconds_and_guests_do_not_notice(berth: Installation) -> None:
    killed, guest = berth.daemon(LIBVIRTD), berth.guest("first")
    os.kill(killed.pid, signal.SIGKILL)
    took = wait_until(lambda: answers(berth), "libvirtd answers again", BACK_WITHIN)
    berth.say(f"libvirtd answers {took:.1f} s after it was killed")
    assert berth.daemon(LIBVIRTD).pid != killed.pid
    assert berth.guest("first") == guest
    assert berth.booted("first") == berth.boots["first"]
    assert "first" in berth.node_domains()


def test_the_same_content_under_another_tag_changes_nothing_on_the_node(berth: Installation) -> None:
    daemon, version = berth.daemon(LIBVIRTD), image_of(berth).rpartition(":")[2]
    berth.node.tag_image(f"berth-libvirt:{version}", "berth-libvirt:same")
    berth.install("upgraded to the same content", "--set", "libvirt.managed.image.tag=same")
    assert image_of(berth) == "berth-libvirt:same"
    assert berth.daemon(LIBVIRTD) == daemon
    assert len(list(trees.trees(berth.folder))) == 1


def test_other_content_replaces_libvirtd_under_running_guests(berth: Installation) -> None:
    former, logd, guest = berth.daemon(LIBVIRTD), berth.daemon(VIRTLOGD), berth.guest("first")
    berth.install("upgraded to other content", "--set", f"libvirt.managed.image.tag={OTHER}")
    wait_until(lambda: answers(berth), "the new libvirtd answers")
    assert berth.daemon(LIBVIRTD).tree != former.tree
    assert berth.daemon(VIRTLOGD) == logd, "it holds the pipes of guests"
    assert berth.guest("first") == guest, "with the QEMU that it was started with"
    berth.wait_ready("first")
    assert berth.booted("first") == berth.boots["first"]
    assert "first" in berth.node_domains()


def test_a_vm_that_is_started_then_runs_from_the_new_tree(berth: Installation) -> None:
    berth.start("second")
    assert berth.guest("second").tree == berth.daemon(LIBVIRTD).tree != berth.guest("first").tree
    berth.delete("second")


def test_with_the_last_guest_goes_the_former_tree_and_a_deleted_vm_leaves_nothing(berth: Installation) -> None:
    berth.delete("first")
    assert not berth.node.guests()
    assert berth.node_domains() == []
    assert not list(berth.node.path("/run/netns").iterdir())
    wanted = berth.daemon(LIBVIRTD).tree
    wait_until(lambda: [tree.name for tree in trees.trees(berth.folder)] == [wanted], "the former tree is removed")
    assert berth.daemon(VIRTLOGD).tree == wanted


def test_a_guest_and_libvirtd_stay_when_berth_is_uninstalled_and_end_as_documented(berth: Installation) -> None:
    berth.start("third")
    before = {berth.daemon(LIBVIRTD), berth.daemon(VIRTLOGD), berth.guest("third")}
    berth.cluster.helm("uninstall", releases.RELEASE, "-n", NAMESPACE, "--wait", timeout=120)
    wait_until(lambda: berth.pods() == [], "the agent's Pod is gone")
    assert before <= set(berth.running())
    assert berth.booted("third") == berth.boots["third"]
    page = startup.project_root().joinpath("docs/install.md").read_text(encoding="utf-8")
    (ending,) = [block for block in page.split("```\n") if "for process in /proc/" in block]
    ending, _, removing = ending.partition("rm -r ")
    berth.node.exec(["sh", "-euc", ending], timeout=60)
    assert berth.running() == [], "the loop ends when nothing runs from a tree any more"
    assert removing.splitlines()[0] == f"/{FOLDER}", "all that is left of it on the node's disk"
    assert not berth.node.guests()


def groups_of(pid: int) -> set[str]:
    """A process's control groups in all hierarchies, below those that are the node's."""
    listed = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    return {line.split(":", 2)[2].partition("/node-1")[2] for line in listed}


def image_of(berth: Installation) -> str:
    (pod,) = berth.pods()
    image: str = next(each for each in pod["spec"]["containers"] if each["name"] == "libvirtd")["image"]
    return image


def answers(berth: Installation) -> bool:
    """Whether a libvirtd that runs from a tree answers."""
    daemons = processes.daemons(berth.running(), LIBVIRTD)
    asked = berth.node.exec(["virsh", "-q", "-c", "qemu:///system", "uri"], timeout=10, check=False)
    return len(daemons) == 1 and asked.returncode == 0
