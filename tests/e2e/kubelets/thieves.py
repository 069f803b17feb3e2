"""A thief in the Pod of node-1's agent: what is there to attack, and the way in."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.e2e.conftest import VM
from tests.e2e.kubelets.blanks import blank
from tests.e2e.kubelets.installations import NAMESPACE, Installation
from tests.integration.security import tokens, wire
from tests.integration.security.calls import typed
from tests.integration.security.rules import Attempt
from tests.integration.security.wire import Answer, Request, Shot, Target

from berth_dev.processes import poll_until

KUBELET_PORT = 10250
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - where it is
_WAIT = 60.0
_EXEC_TIMEOUT = 120.0
_KEPT = {"terminationGracePeriodSeconds": 3600}
"""Its guest has no system that would heed the power button, so it stays as it is when it is deleted."""
_WATCHED = (
    *("vm.berth.dev", "hv", "vmclass", "vmimage", "cvmimage", "vnet", "spool", "nodes", "pods", "secrets", "leases"),
    *("clusterroles", "clusterrolebindings", "roles", "rolebindings", "crds", "csr", "daemonsets", "deployments"),
    *("validatingadmissionpolicies", "validatingadmissionpolicybindings", "serviceaccounts", "pdb"),
)


class Thief:
    """Whoever sits in the Pod of node-1's agent, and has nothing but what is there.

    Args:
        berth: The installation.
        scratch: A folder for keys.
    """

    def __init__(self, berth: Installation, scratch: Path) -> None:
        self._berth, self._cluster = berth, berth.cluster
        former = _agent(berth)
        of_pod_gone = self._own_token(former)
        self._cluster.kubectl("delete", "pod", "-n", NAMESPACE, former, "--timeout=60s", timeout=70)
        self.pod = _agent(berth, but=former)
        key = self._cluster.run.state / "control-plane" / "sa.key"
        self._tokens: Mapping[str, str | None] = {
            **tokens.variations(self._cluster.kubectl, self._own_token(self.pod), self.pod, key, scratch),
            "token-of-pod-gone": of_pod_gone,
            "nobody": "",
            "pod": None,
        }

    def attempt(self, attempts: Sequence[Attempt]) -> dict[str, Answer]:
        """Make all of the attempts, one after another, and return the answers by their names."""
        shots = [Shot(typed(self._aimed(each)), self._target(each.at), self._tokens[each.token]) for each in attempts]
        return dict(zip((each.name for each in attempts), self.fire(shots), strict=True))

    def fire(self, shots: Sequence[Shot]) -> list[Answer]:
        """Send requests from inside the Pod, by the Python of its image."""
        program = Path(wire.__file__).read_text(encoding="utf-8")
        said = self._exec(self.pod, program, json.dumps([asdict(shot) for shot in shots]))
        return [Answer(**answer) for answer in json.loads(said)]

    def operator_metrics(self) -> Shot:
        """What reads an operator's metrics."""
        return Shot(Request("GET", "/metrics"), self._target("operator:9090"), "")

    def _exec(self, pod: str, program: str, stdin: str = "") -> str:
        python = ("python3", "-c", program)
        return self._cluster.kubectl(
            "exec", "-i", "-n", NAMESPACE, pod, "--", *python, stdin=stdin, timeout=_EXEC_TIMEOUT
        )

    def _own_token(self, pod: str) -> str:
        return self._exec(pod, f"print(open({_TOKEN!r}).read())").strip()

    def _target(self, at: str) -> Target | None:
        if at in {"api", "files"}:
            return None if at == "api" else Target("")
        name, _, port = at.partition(":")
        return Target(self._address(name), int(port), "" if int(port) == KUBELET_PORT else None)

    def _address(self, name: str) -> str:
        if name == "operator":
            return str(self._berth.pods("operator")[0]["status"]["podIP"])
        plan = self._cluster.run.plan
        return str(plan.control_plane if name == "control-plane" else self._cluster.node(name).address)

    def _aimed(self, attempt: Attempt) -> Request:
        if attempt.at != "files":
            return attempt.request
        pids = {
            "kubelet": self._cluster.node("node-1").kubelet.pid,
            "other": self._cluster.node("node-1").libvirtd.pid,
        }
        return Request("GET", attempt.request.path.format(**pids))


def _agent(berth: Installation, but: str = "") -> str:
    """The agent's Pod of node-1, as soon as it runs, if it is not the one that is named."""
    deadline = time.monotonic() + _WAIT
    while True:
        for pod in berth.pods("agent"):
            ready = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}.get("Ready")
            name: str = pod["metadata"]["name"]
            if pod["spec"]["nodeName"] == "node-1" and ready == "True" and name != but:
                return name
        assert poll_until(deadline, interval=0.2), "an agent runs on node-1"


@contextmanager
def things_to_attack(berth: Installation) -> Iterator[None]:
    """The objects that attempts name: VMs of this node, of the other one, of none, and one that is being deleted."""
    kubectl = berth.cluster.kubectl
    nodes = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("node-4", "node-5")]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "user-data", "namespace": "default"}}
    vms = [
        blank("mine", nodeName="node-1"),
        blank("theirs", nodeName="node-2"),
        blank("nobodys", nodeSelector={"nowhere": "true"}),
        blank("leaving", nodeName="node-1", **_KEPT),
    ]
    try:
        kubectl.apply([*nodes, secret, *vms])
        berth.wait_ready(("mine", "theirs", "leaving"))
        kubectl("delete", VM, "leaving", "--wait=false")
        yield
    finally:
        kubectl("patch", VM, "leaving", "--type=merge", "-p", '{"spec":{"terminationGracePeriodSeconds":0}}')
        berth.remove("mine", "theirs", "nobodys", "leaving")
        kubectl("delete", "node", "node-4", "node-5", "--ignore-not-found")
        kubectl("delete", "secret", "user-data")


def fingerprint(berth: Installation) -> Mapping[tuple[str, str, str], Any]:
    """All that is attacked, by kind, namespace and name, without what changes while nobody does anything."""
    return {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): _lasting(each)
        for each in berth.listed(",".join(_WATCHED), "-A")
    }


def _lasting(thing: dict[str, Any]) -> dict[str, Any]:
    for field in ("resourceVersion", "managedFields"):
        thing["metadata"].pop(field, None)
    if thing["kind"] == "Lease":
        thing["spec"].pop("renewTime", None)
    if thing["kind"] == "Node":
        thing["status"] = thing["status"].get("allocatable")
    return thing
