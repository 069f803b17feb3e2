"""The two that are compared: what they bind, how they are started, and how their objects are made and removed."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.scheduling.clients import Client, for_each
from benchmarks.scheduling.controlplane import ControlPlane, free_ports
from benchmarks.scheduling.objects import GROUP_LABEL, NAMESPACE, group_of, pod, virtual_machine
from benchmarks.scheduling.processes import Child
from berth_api import kinds
from berth_api.fields import SYSTEM_NAMESPACE
from berth_dev.berthparts import OPERATOR, executable
from berth_dev.kubeconfigs import write_secret

_EVENTS = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
_QPS = 5000
"""kube-scheduler's own limit is 50 requests a second; this one is never reached."""
_AT_ONCE = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
_NO_FINALIZERS = {"metadata": {"finalizers": None}}
_MERGE_PATCH = "application/merge-patch+json"


class MisplacedError(RuntimeError):
    """A scheduler broke a rule, so that its rate means nothing."""


@dataclass(frozen=True)
class Scheduler:
    """One of the two.

    Attributes:
        name: For people.
        path: Of the collection that it binds.
        bound: Field selector of those that have a node.
        body: Makes an object, from its name and its group.
        node_of: An object's node.
        start: Starts the process; the path is for cProfile's file, where one is wanted.
    """

    name: str
    path: str
    bound: str
    body: Callable[[str, str | None], dict[str, Any]]
    node_of: Callable[[dict[str, Any]], str | None]
    start: Callable[[ControlPlane, Path | None], Child]

    async def create(self, client: Client, count: int, *, mixed: bool = False, first: int = 0) -> None:
        """Create objects without a node."""

        async def make(number: int) -> None:
            body = self.body(f"object-{number:06d}", group_of(number, mixed=mixed))
            await client.send("POST", self.path, body=body)

        await for_each(range(first, first + count), make)

    async def remove_all(self, client: Client) -> None:
        """Remove all objects and the Events about them, and wait until they are gone.

        One by one: the API server gives a whole collection no longer than a minute. VMs are held by a finalizer until
        their node's agent has let go of them; there is none, so it is taken off.
        """
        for path in (self.path, _EVENTS):
            while not await client.is_empty(path):
                async for page in client.pages(path, metadata_only=True):
                    await for_each(page, partial(_remove, client, path))

    async def check(self, client: Client, per_node: int) -> None:
        """See that the objects are where they may be.

        Args:
            client: The administrator's.
            per_node: How many fit on a node.

        Raises:
            MisplacedError: A node holds too many, or two of a group that keeps apart.
        """
        nodes: Counter[str] = Counter()
        groups: Counter[tuple[str, str]] = Counter()
        async for page in client.pages(self.path):
            for item in page:
                node, group = self.node_of(item), (item["metadata"].get("labels") or {}).get(GROUP_LABEL)
                if node is not None:
                    nodes[node] += 1
                    groups[node, group or item["metadata"]["name"]] += 1
        overfull = [node for node, count in nodes.items() if count > per_node]
        together = [node for (node, _), count in groups.items() if count > 1]
        if overfull or together:
            raise MisplacedError(f"{self.name}: past capacity: {overfull[:5]}; two of a group: {together[:5]}")


async def _remove(client: Client, collection: str, item: dict[str, Any]) -> None:
    path = f"{collection}/{item['metadata']['name']}"
    await client.send("DELETE", path, body=_AT_ONCE, may_be_gone=True)
    if item["metadata"].get("finalizers"):
        await client.send("PATCH", path, body=_NO_FINALIZERS, content=_MERGE_PATCH, may_be_gone=True)


def _node_of_vm(vm: dict[str, Any]) -> str | None:
    node: str | None = vm.get("status", {}).get("nodeName")
    return node


def _node_of_pod(body: dict[str, Any]) -> str | None:
    node: str | None = body["spec"].get("nodeName")
    return node


def _start_operator(control_plane: ControlPlane, profile: Path | None) -> Child:
    """The operator with its defaults, but content with heartbeats that are never renewed."""
    program: Sequence[str] = [executable(OPERATOR)]
    if profile is not None:
        program = [sys.executable, "-m", "cProfile", "-o", str(profile), "-m", "berth_operator"]
    env = {
        "BERTH_OPERATOR_KUBECONFIG": str(control_plane.operator_kubeconfig),
        "BERTH_OPERATOR_NAMESPACE": SYSTEM_NAMESPACE,
        "BERTH_OPERATOR_HEARTBEAT_TIMEOUT": "86400",
    }
    if control_plane.tree is not None:
        env["PYTHONPATH"] = f"{control_plane.tree / 'operator'}:{control_plane.tree / 'crds'}"
    return Child(program, log=control_plane.log("operator"), env=env)


def _start_kube_scheduler(control_plane: ControlPlane, _profile: Path | None) -> Child:
    """kube-scheduler with its defaults, but for the limit of its requests and the election of a leader."""
    config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(control_plane.scheduler_kubeconfig), "qps": _QPS, "burst": _QPS},
        "leaderElection": {"leaderElect": False},
    }
    path = control_plane.folder / "kube-scheduler.yaml"
    write_secret(path, json.dumps(config))
    program = [
        str(control_plane.programs / "kube-scheduler"),
        f"--config={path}",
        "--bind-address=127.0.0.1",
        f"--secure-port={free_ports(1)[0]}",
    ]
    return Child(program, log=control_plane.log("kube-scheduler"))


BERTH = Scheduler(
    name="Berth",
    path=kinds.VIRTUAL_MACHINE.path(namespace=NAMESPACE),
    bound="status.nodeName!=",
    body=virtual_machine,
    node_of=_node_of_vm,
    start=_start_operator,
)
KUBE_SCHEDULER = Scheduler(
    name="kube-scheduler",
    path=f"/api/v1/namespaces/{NAMESPACE}/pods",
    bound="spec.nodeName!=",
    body=pod,
    node_of=_node_of_pod,
    start=_start_kube_scheduler,
)
SCHEDULERS = (BERTH, KUBE_SCHEDULER)
