"""Guests' control group is the node's, in every hierarchy, wherever the kubelet keeps its Pods."""

from pathlib import Path

import pytest

from berth_libvirt import cgroups
from berth_libvirt.errors import NodeUnsuited

BELOW = Path("/host/sys/fs/cgroup")
V1 = """\
30 29 0:26 / /host/sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw,mode=755
31 30 0:27 / /host/sys/fs/cgroup/cpu,cpuacct rw,nosuid master:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /host/sys/fs/cgroup/memory rw,nosuid master:10 - cgroup cgroup rw,memory
33 30 0:29 / /host/sys/fs/cgroup/systemd rw,nosuid master:11 - cgroup cgroup rw,name=systemd
34 30 0:30 / /host/sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
40 29 0:27 /pod /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct
41 30 0:27 / /host/sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
"""
V2 = "35 29 0:30 / /host/sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("pod", "group"),
    [
        ("/kubepods/burstable/pod12/34", "/berth-libvirt"),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-2.scope",
            "/berth-libvirt",
        ),
        ("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1.slice/x.scope", "/kubelet.slice/berth-libvirt"),
        ("/nodes/node-1/kubepods/besteffort/pod12/34", "/nodes/node-1/berth-libvirt"),
        ("/", "/berth-libvirt"),
        ("/system.slice/containerd.service", "/berth-libvirt"),
    ],
)
def test_the_group_is_beside_what_holds_all_pods(pod: str, group: str) -> None:
    assert cgroups.beside_pods(pod) == group


def test_every_hierarchy_of_the_node_is_found_once_and_none_of_the_containers() -> None:
    found = {each.options: each.path for each in cgroups.hierarchies(V1, BELOW)}
    assert found == {
        frozenset({"cpu", "cpuacct"}): BELOW / "cpu,cpuacct",
        frozenset({"memory"}): BELOW / "memory",
        frozenset({"name=systemd"}): BELOW / "systemd",
        frozenset(): BELOW / "unified",
    }


def test_each_hierarchy_has_its_own_idea_of_where_the_container_is() -> None:
    groups = {"3:cpu,cpuacct": "a", "2:memory": "b", "1:name=systemd": "c", "0:": "d"}
    listed = "".join(f"{names}:/{top}/kubepods/pod1/c\n" for names, top in groups.items())
    found = {folder for _, folder in cgroups.plan(cgroups.hierarchies(V1, BELOW), listed)}
    assert found == {
        BELOW / "cpu,cpuacct/a/berth-libvirt",
        BELOW / "memory/b/berth-libvirt",
        BELOW / "systemd/c/berth-libvirt",
        BELOW / "unified/d/berth-libvirt",
    }


def test_a_hierarchy_is_known_by_its_name_whatever_else_it_was_mounted_with() -> None:
    options = "rw,xattr,release_agent=/lib/systemd/systemd-cgroups-agent,name=systemd"
    mounted = cgroups.hierarchies(V1.replace("rw,name=systemd", options), BELOW)
    listed = "3:cpu,cpuacct:/a/kubepods/pod1\n1:name=systemd:/c/kubepods/pod1\n0::/d/kubepods/pod1\n"
    found = {folder for _, folder in cgroups.plan(mounted, listed)}
    assert {BELOW / "systemd/c/berth-libvirt", BELOW / "unified/d/berth-libvirt"} < found


def test_version_2_has_one() -> None:
    listed = "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-2.scope\n"
    ((_, folder),) = cgroups.plan(cgroups.hierarchies(V2, BELOW), listed)
    assert folder == BELOW / "berth-libvirt"


@pytest.mark.parametrize("top", ["/..", "/../../.."])
def test_a_container_that_sees_groups_only_from_its_own_on_takes_the_nodes_root(top: str) -> None:
    mounted = cgroups.hierarchies(V2.replace(" / ", f" {top} ", 1), BELOW)
    ((_, folder),) = cgroups.plan(mounted, "0::/\n")
    assert folder == BELOW / "berth-libvirt"


def test_where_a_part_of_a_hierarchy_is_mounted_the_group_is_found_below_it() -> None:
    mounted = cgroups.hierarchies(V2.replace(" / ", " /docker/12 ", 1), BELOW)
    ((_, folder),) = cgroups.plan(mounted, "0::/docker/12/kubelet/kubepods/pod1\n")
    assert folder == BELOW / "kubelet/berth-libvirt"
    with pytest.raises(NodeUnsuited, match="/docker/12"):
        list(cgroups.plan(mounted, "0::/kubepods/pod1\n"))
