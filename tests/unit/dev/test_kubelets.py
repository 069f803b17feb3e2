"""Nodes with kubelets keep to their own, and to the addresses of their cluster."""

from pathlib import Path

import pytest

from berth_dev import controlplane, kubeconfigs, links, nodefs
from berth_dev.addresses import MAX_NODES, AddressPlan
from berth_dev.clusters import Cluster
from berth_dev.errors import DevError
from berth_dev.kubelets import SYSCTLS, kubelet_configuration, pod_network, proxy_configuration
from berth_dev.states import Artifacts, Options, Run

_OPTIONS = Options(operator=False, agent=False, kubelets=True)


def _cluster() -> Cluster:
    artifacts = Artifacts(Path("/a/bin"), Path("/a/cni"), Path("/a/images"), Path("/a/containerd"))
    return Cluster(Run("c", "0123", 3, Path("/state/c"), _OPTIONS, artifacts))


def test_pods_have_addresses_that_nothing_else_of_the_cluster_has() -> None:
    plan = AddressPlan(3)
    pods = [plan.pod_subnet(number) for number in range(1, MAX_NODES + 1)]
    assert len(set(pods)) == MAX_NODES
    assert all(subnet.subnet_of(plan.pods) for subnet in pods)
    assert not any(plan.pods.overlaps(other) for other in (plan.underlay, plan.vm_subnet, plan.service_subnet))


def test_a_node_knows_the_way_to_the_pods_of_all_others() -> None:
    plan = AddressPlan(0)
    assert links.pod_routes_inside(plan, 2, 3) == [
        "route add 10.88.129.0/24 via 10.88.0.11",
        "route add 10.88.131.0/24 via 10.88.0.13",
    ]
    assert len(links.pod_routes_on_host(plan, 3)) == 3


def test_the_sysctls_that_a_kubelet_sets_are_the_nodes_own() -> None:
    text = nodefs.fstab("id", Path("/state/fs"), [], kubelet=True)
    for name in SYSCTLS:
        assert f"/state/fs/proc/sys/{name} /proc/sys/{name} none bind" in text
    assert "/proc/sys" not in nodefs.fstab("id", Path("/state/fs"), [])


def test_what_lies_under_a_mount_is_mounted_after_it() -> None:
    targets = [line.split()[1] for line in nodefs.fstab("id", Path("/s"), ["apt"], kubelet=True).splitlines()]
    assert targets.index("/var/log") < targets.index("/var/log/libvirt")
    assert "/var/lib/kubelet" in targets


def test_a_kubelet_answers_to_whom_the_api_server_lets_and_stays_in_the_runs_group() -> None:
    cluster = _cluster()
    configuration = kubelet_configuration(cluster.run, cluster.nodes[0])
    assert configuration["authentication"] == {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": "/state/c/control-plane/kubelet-client.crt"},
    }
    assert configuration["authorization"] == {"mode": "Webhook"}
    assert configuration["cgroupRoot"] == "/berth-dev-0123/node-1"
    assert configuration["address"] == "10.91.0.11"
    programs = controlplane.programs(cluster.run, Path("/b"), Path("/state/c/control-plane"))
    assert "--kubelet-client-certificate=/state/c/control-plane/kubelet-client.crt" in programs["kube-apiserver"].argv


def test_a_proxy_leaves_the_machines_connection_tracking_alone() -> None:
    cluster = _cluster()
    tracked = proxy_configuration(cluster.run, cluster.nodes[0])["conntrack"]
    assert tracked == {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}


def test_pods_of_a_node_get_addresses_of_its_subnet() -> None:
    assert "10.91.130.0/24" in str(pod_network(_cluster().run, 2))


def test_with_kubelets_nodes_are_watched_and_pods_are_scheduled() -> None:
    programs = controlplane.programs(_cluster().run, Path("/b"), Path("/f"))
    assert "--controllers=*" in programs["kube-controller-manager"].argv
    assert "kube-scheduler" in programs


def test_with_kubelets_berth_is_left_to_its_chart() -> None:
    names = list(_cluster().parts)
    assert [name for name in names if name.startswith("node-1.")] == [
        "node-1.holder",
        "node-1.virtlogd",
        "node-1.libvirtd",
        "node-1.containerd",
        "node-1.kubelet",
        "node-1.kube-proxy",
    ]
    with pytest.raises(DevError, match="comes by its chart"):
        Options(kubelets=True)


def test_every_kubelet_is_a_user_of_its_own() -> None:
    users = {user.name: user for user in kubeconfigs.new_users(["node-1", "node-2"])}
    assert users["system:node:node-1"].groups == ("system:nodes",)
    assert users["system:node:node-1"].token != users["system:node:node-2"].token
    assert "system:kube-proxy" in users
    assert "system:kube-proxy" not in {user.name for user in kubeconfigs.new_users()}
