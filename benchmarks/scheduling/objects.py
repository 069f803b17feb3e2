"""The objects of the cluster: nodes that both schedulers see alike, VMs and Pods that ask for the same.

Nothing runs on these nodes. Their heartbeats are as fresh as the cluster; the operator is told to be content with that.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from benchmarks.scheduling.clients import Client, for_each
from berth_api import kinds
from berth_api.fields import AGENT, SYSTEM_NAMESPACE

NAMESPACE = "bench"
GROUP_LABEL = "group"
GROUP_SIZE = 10
MIXED_SHARE = 5
"""In a mixed round every fifth object belongs to a group whose members keep apart."""
ZONES = 10
CPU, MEMORY = "16", "64Gi"
"""Of a node: room for 16 of the objects, by CPU."""
_HOSTNAME = "kubernetes.io/hostname"
_APPLY = "application/apply-patch+yaml"
_Object = dict[str, Any]


async def furnish(client: Client, count: int) -> None:
    """The namespace, a storage pool, and `count` nodes with all that either scheduler wants to know of them."""
    await client.send("POST", "/api/v1/namespaces", body={"metadata": {"name": NAMESPACE}})
    # There is no controller that would make it, and no Pod is admitted without.
    account = {"metadata": {"name": "default"}}
    await client.send("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", body=account)
    pool = {"metadata": {"name": "default"}, "spec": {"path": "/var/lib/berth/pools/default"}}
    pools = await client.send("GET", kinds.STORAGE_POOL.path())
    if not any(known["metadata"]["name"] == "default" for known in orjson.loads(pools)["items"]):
        await client.send("POST", kinds.STORAGE_POOL.path(), body=_typed(kinds.STORAGE_POOL, pool))

    async def make(number: int) -> None:
        name = f"node-{number:05d}"
        await client.send("POST", kinds.NODE.path(), body=node(name, number))
        await client.send("POST", kinds.HYPERVISOR.path(), body=_typed(kinds.HYPERVISOR, hypervisor(name)))
        path = kinds.HYPERVISOR.path(name, subresource="status")
        status = _typed(kinds.HYPERVISOR, {"metadata": {"name": name}, "status": _hypervisor_status()})
        await client.send("PATCH", f"{path}?fieldManager={AGENT}&force=true", body=status, content=_APPLY)
        await client.send(
            "POST", kinds.LEASE.path(namespace=SYSTEM_NAMESPACE), body=_typed(kinds.LEASE, heartbeat(name))
        )

    await for_each(range(count), make)


def node(name: str, number: int) -> _Object:
    """A Node as its kubelet would register it."""
    room = {"cpu": CPU, "memory": MEMORY, "pods": "110", "ephemeral-storage": "1Ti"}
    labels = {
        _HOSTNAME: name,
        "topology.kubernetes.io/zone": f"zone-{number % ZONES}",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"capacity": room, "allocatable": room, "conditions": [ready]},
    }


def hypervisor(name: str) -> _Object:
    """The same node for Berth, without overcommit, as kube-scheduler sees it."""
    reserved = {"cpu": "0", "memory": "0", "storage": "0"}
    return {"metadata": {"name": name}, "spec": {"overcommit": {"cpu": 1}, "reserved": reserved}}


def _hypervisor_status() -> _Object:
    return {
        "capacity": {"cpu": CPU, "memory": MEMORY},
        "accelerator": "kvm",
        "architecture": "x86_64",
        "cpuModels": ["Haswell-noTSX-IBRS", "Nehalem-IBRS", "Skylake-Server-IBRS", "Westmere-IBRS"],
        "machineTypes": ["pc", "q35"],
        "storagePools": [{"name": "default", "capacity": "1Ti", "ready": True}],
    }


def heartbeat(name: str) -> _Object:
    """A node's Lease, renewed just now."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
    return {"metadata": {"name": name, "namespace": SYSTEM_NAMESPACE}, "spec": spec}


def group_of(number: int, *, mixed: bool) -> str | None:
    """The anti-affinity group of an object, if it has one."""
    if not mixed or number % MIXED_SHARE:
        return None
    return f"group-{number // MIXED_SHARE // GROUP_SIZE}"


def virtual_machine(name: str, group: str | None) -> _Object:
    """A VM of one core and 1 GiB, with a blank disk."""
    spec: _Object = {
        "cpu": {"cores": 1},
        "memory": {"size": "1Gi"},
        "disks": [{"name": "root", "size": "1Gi"}],
        "networks": [],
    }
    if group is not None:
        spec["affinity"] = {"vmAntiAffinity": _apart(group)}
    return _typed(kinds.VIRTUAL_MACHINE, {"metadata": _metadata(name, group), "spec": spec})


def pod(name: str, group: str | None) -> _Object:
    """A Pod of one CPU and 1 GiB."""
    container = {
        "name": "main",
        "image": "registry.k8s.io/pause:3.10",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
    }
    spec: _Object = {"containers": [container], "automountServiceAccountToken": False}
    if group is not None:
        spec["affinity"] = {"podAntiAffinity": _apart(group)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(name, group), "spec": spec}


def _metadata(name: str, group: str | None) -> _Object:
    return {"name": name, "namespace": NAMESPACE, "labels": {GROUP_LABEL: group} if group else {}}


def _apart(group: str) -> Mapping[str, Any]:
    """No two of the group on one node."""
    term = {"labelSelector": {"matchLabels": {GROUP_LABEL: group}}, "topologyKey": _HOSTNAME}
    return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}


def _typed(kind: kinds.Kind, body: _Object) -> _Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind, **body}
