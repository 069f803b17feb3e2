"""A control plane that is lost, and another one over the same nodes, whose guests run on meanwhile.

Everything of it is new: etcd is empty, certificates, tokens and the cluster's identity are others. Libvirtd, guests,
networks and what is below /var/lib/berth of each node stay.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from typing import Any

from tests.e2e.conftest import VM

from berth_dev import berthparts, controlplane, kube, nodes, startup
from berth_dev.clusters import Cluster

KEPT = ("name", "namespace", "labels", "annotations")
"""What Velero keeps of the metadata of an object that it restores."""
LABELS = {"velero.io/backup-name": "nightly", "velero.io/restore-name": "nightly-20261123"}
_PARTS = ("kube-controller-manager", "kube-apiserver", "etcd")
_START_TIMEOUT = 120.0


def backed_up(cluster: Cluster) -> list[dict[str, Any]]:
    """All VMs, as a back-up has them."""
    found: list[dict[str, Any]] = json.loads(cluster.kubectl("get", VM, "-A", "-o", "json"))["items"]
    return found


def restore(cluster: Cluster, body: dict[str, Any], *, labels: bool = False, status: bool = False) -> None:
    """Make an object of a back-up as Velero does: without UID and owners, and without status unless that is asked for.

    Args:
        cluster: Where.
        body: The object as it was.
        labels: Put Velero's on it.
        status: Restore that, too, which is a second request.
    """
    metadata = {name: body["metadata"][name] for name in KEPT if name in body["metadata"]}
    if labels:
        metadata["labels"] = {**metadata.get("labels", {}), **LABELS}
    made = {**body, "metadata": metadata}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps({k: v for k, v in made.items() if k != "status"}))
    if status:
        patch = ("--type=merge", "--subresource=status", "-p", json.dumps({"status": body["status"]}))
        cluster.kubectl("patch", VM, metadata["name"], "-n", metadata["namespace"], *patch)


def lose(cluster: Cluster) -> None:
    """The control plane and all of Berth's processes end, and nothing is left of what they stored."""
    cluster.stop("operator")
    for node in cluster.nodes:
        node.agent.stop()
    for name in _PARTS:
        cluster.stop(name)
    shutil.rmtree(cluster.run.state / "control-plane")


def make_anew(cluster: Cluster, furnish: Callable[[Cluster], None], agents: Iterable[str]) -> None:
    """Another control plane, with all of Berth but its operator.

    Args:
        cluster: The one that was lost.
        furnish: Makes the objects that VMs refer to.
        agents: Names of nodes whose agents are started.
    """
    folder = cluster.run.state / "control-plane"
    folder.mkdir()
    controlplane.write_credentials(folder)
    for name in reversed(_PARTS):
        cluster.part(name).start()
        cluster.part(name).wait_ready(_START_TIMEOUT)
        if name == "kube-apiserver":
            controlplane.write_kubeconfigs(cluster.run, folder)
    kube.apply_manifests(cluster.kubectl, startup.project_root())
    size = {"cpus": 4, "memory_kib": berthparts.machine_memory_kib()}
    kube.register_nodes(cluster.kubectl, [nodes.object_of(node, **size) for node in cluster.nodes])
    furnish(cluster)
    berthparts.write_operator_kubeconfig(cluster.run, cluster.kubectl)
    kube.wait_in_force(cluster.kubectl, berthparts.AGENT_USER)
    for node in cluster.nodes:
        berthparts.write_agent_kubeconfig(cluster.run, cluster.kubectl, node)
    for name in agents:
        cluster.start(f"{name}.agent")


def operate(cluster: Cluster) -> None:
    """Start the operator."""
    cluster.start("operator")
