"""What makes a Kubernetes node of a node: containerd, kubelet and kube-proxy, inside its namespaces.

All of their state is in folders that the node has of its own, so nothing of it is on the machine. Two things of a
kubelet's are the whole machine's, and are kept from it: its control groups are below one of the run's own
(`berth_dev.cgroups`), and the sysctls that it sets are files of the node's which already say what it wants (`SYSCTLS`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from berth_dev import cgroups, commands
from berth_dev.archives import full_name, names_in
from berth_dev.containers import PAUSE_REFERENCE
from berth_dev.controlplane import KUBELET_CLIENT, answers
from berth_dev.errors import CommandError
from berth_dev.parts import Program
from berth_dev.states import Run

if TYPE_CHECKING:
    from berth_dev.nodes import NodeHandle

SYSCTLS: Mapping[str, str] = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What a kubelet wants of the kernel (`setupKernelTunables` in its container manager), and otherwise sets itself."""

OWN_FOLDERS = ("/var/lib/kubelet", "/var/lib/containerd", "/var/lib/berth-libvirt", "/var/log")
"""What a node with a kubelet has of its own, besides what every node has."""

SOCKET = "/run/containerd/containerd.sock"
_ROOT = "/var/lib/kubelet"
_RUNC = "/usr/sbin/runc"
_HEALTH_PORT = 10248
_PROXY_HEALTH_PORT = 10256
_MTU = 1500
_IMPORT_TIMEOUT = 300.0
_ASK_TIMEOUT = 10.0
_TAG_TIMEOUT = 60.0

_CONTAINERD_TOML = """\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "{socket}"

[plugins.'io.containerd.internal.v1.opt']
path = "/var/lib/containerd/opt"

[plugins.'io.containerd.nri.v1.nri']
disable = true

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{pause}"

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
enable_cdi = false

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{plugins}"]
conf_dir = "{networks}"
use_internal_loopback = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
BinaryName = "{runc}"
"""


def lay_out(run: Run, node: "NodeHandle") -> None:
    """Write the configuration of a node's containerd, kubelet and kube-proxy."""
    folder = node.folder
    for name, value in SYSCTLS.items():
        target = node.private / "proc/sys" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{value}\n", encoding="ascii")
    networks = folder / "networks"
    networks.mkdir()
    (networks / "10-pods.conflist").write_text(json.dumps(pod_network(run, node.number)), encoding="utf-8")
    containerd = _CONTAINERD_TOML.format(
        socket=SOCKET, pause=full_name(PAUSE_REFERENCE), plugins=run.artifacts.cni, networks=networks, runc=_RUNC
    )
    (folder / "containerd.toml").write_text(containerd, encoding="utf-8")
    (folder / "kubelet.json").write_text(json.dumps(kubelet_configuration(run, node)), encoding="utf-8")
    (folder / "kube-proxy.json").write_text(json.dumps(proxy_configuration(run, node)), encoding="utf-8")


def pod_network(run: Run, number: int) -> Mapping[str, object]:
    """The CNI chain of a node's Pods: a routed link each.

    Not a bridge: there, what a Service's Pod answers to another Pod of the node passes by the translation of addresses.
    """
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": str(run.plan.pod_subnet(number))}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [{"type": "ptp", "ipMasq": False, "mtu": _MTU, "ipam": ipam}]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


def kubelet_configuration(run: Run, node: "NodeHandle") -> Mapping[str, object]:
    """The KubeletConfiguration: as by default, the kubelet asks the API server who comes and what they may do."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(node.address),
        "healthzBindAddress": str(node.address),
        "healthzPort": _HEALTH_PORT,
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(run.state / "control-plane" / f"{KUBELET_CLIENT}.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.path_of(run.run_id, node.name),
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "volumePluginDir": f"{_ROOT}/volume-plugins",
    }


def proxy_configuration(run: Run, node: "NodeHandle") -> Mapping[str, object]:
    """The KubeProxyConfiguration: nftables, and nothing of the connection tracking that is the machine's."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(run.state / "control-plane" / "kube-proxy.kubeconfig")},
        "hostnameOverride": node.name,
        "bindAddress": str(node.address),
        "healthzBindAddress": f"{node.address}:{_PROXY_HEALTH_PORT}",
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "nftables",
        "clusterCIDR": str(run.plan.pods),
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "oomScoreAdj": 0,
    }


def containerd_program(run: Run, node: "NodeHandle") -> Program:
    """How containerd is started; it finds the shim beside itself."""
    argv = [*node.entering, str(run.artifacts.containerd / "containerd"), "--config", f"{node.folder}/containerd.toml"]

    def is_ready() -> bool:
        if not node.path(SOCKET).exists():
            return False
        return node.exec(ctr(run, "version"), timeout=_ASK_TIMEOUT, check=False).returncode == 0

    return Program(node.containerd.name, argv, is_ready=is_ready)


def kubelet_program(run: Run, node: "NodeHandle") -> Program:
    """How the kubelet is started; it is ready when its Node is."""
    argv = [
        *node.entering,
        str(run.artifacts.bin / "kubelet"),
        f"--config={node.folder / 'kubelet.json'}",
        f"--kubeconfig={run.state / 'control-plane' / f'node:{node.name}.kubeconfig'}",
        f"--root-dir={_ROOT}",
        f"--cert-dir={_ROOT}/pki",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
    ]
    return Program(node.kubelet.name, argv, is_ready=lambda: _is_ready_node(run, node))


def proxy_program(run: Run, node: "NodeHandle") -> Program:
    """How kube-proxy is started."""
    argv = [*node.entering, str(run.artifacts.bin / "kube-proxy"), f"--config={node.folder / 'kube-proxy.json'}"]
    return Program(node.proxy.name, argv, is_ready=lambda: answers(str(node.address), _PROXY_HEALTH_PORT, "/healthz"))


def _is_ready_node(run: Run, node: "NodeHandle") -> bool:
    ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    argv = [str(run.artifacts.bin / "kubectl"), f"--kubeconfig={run.kubeconfig}", "get", "node", node.name, "-o", ready]
    if not answers(str(node.address), _HEALTH_PORT, "/healthz"):
        return False
    try:
        return commands.run(argv, timeout=_ASK_TIMEOUT).stdout.strip() == "True"
    except CommandError:
        return False


def ctr(run: Run, *args: str) -> list[str]:
    """A call of containerd's client in Kubernetes' own namespace; to be run on the node."""
    return [str(run.artifacts.containerd / "ctr"), f"--address={SOCKET}", "--namespace=k8s.io", *args]


def tag_image(run: Run, node: "NodeHandle", reference: str, more: str) -> None:
    """Give an image that a node has another name.

    Raises:
        CommandError: containerd does not run, or has no such image.
    """
    node.exec(ctr(run, "images", "tag", "--force", reference, full_name(more)), timeout=_TAG_TIMEOUT)


def import_image(run: Run, node: "NodeHandle", archive: Path) -> None:
    """Bring an image to a node's containerd.

    Args:
        run: The cluster's run.
        node: Where containerd runs.
        archive: An OCI archive; its index names the image.

    Raises:
        CommandError: containerd does not run, or does not take it.
    """
    node.exec(ctr(run, "images", "import", "--local", str(archive)), timeout=_IMPORT_TIMEOUT)
    for name in names_in(archive):
        if full_name(name) != name:
            tag_image(run, node, name, name)
