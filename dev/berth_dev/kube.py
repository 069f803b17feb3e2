"""kubectl as a function, and the objects that every cluster starts with."""

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from berth_dev import commands, kubeconfigs, runs
from berth_dev.errors import CommandError, DevError
from berth_dev.processes import poll_until

_FIELD_MANAGER = "berth-dev"
_IN_FORCE_TIMEOUT = 90.0
_FINALIZER_POLICY = "vm-finalizer.yaml"
_NOT_YET = "There can be a delay"
"""What the server's admission says while it does not know a new kind: it looks for new ones every half minute."""
_PROBE_HYPERVISOR = {
    "apiVersion": "berth.dev/v1alpha1",
    "kind": "Hypervisor",
    "metadata": {"name": "probe"},
    "spec": {},
}
_PROBE_VM = {
    "apiVersion": "berth.dev/v1alpha1",
    "kind": "VirtualMachine",
    "metadata": {"name": "probe", "namespace": "default"},
    "spec": {"className": "probe", "disks": [{"name": "root", "size": "1Gi"}]},
}


class Kubectl:
    """kubectl with a cluster's administrator, of the same version as its server.

    Args:
        program: The kubectl to run.
        kubeconfig: Whose credentials and server it uses.
        run_id: Marks its processes as the run's.

    What it learns of the API is cached beside the kubeconfig: the next cluster with this address may have other kinds.
    """

    def __init__(self, program: Path, kubeconfig: Path, run_id: str) -> None:
        self._program = program
        self._kubeconfig = kubeconfig
        self._run_id = run_id

    def __call__(self, *args: str, stdin: str | None = None, timeout: float = 30.0) -> str:
        """Run kubectl to its end and return its output.

        Args:
            args: Its arguments.
            stdin: Text for its standard input, for `-f -`.
            timeout: Seconds.

        Raises:
            CommandError: It failed; the message has its standard error.
        """
        own = {"KUBECONFIG": str(self._kubeconfig), "KUBECACHEDIR": str(self._kubeconfig.parent / "kubectl-cache")}
        env = runs.environment(self._run_id, own)
        return commands.run([str(self._program), *args], stdin=stdin, timeout=timeout, env=env).stdout

    def kubeconfig_for(self, user: str, token: str, *, server: str | None = None) -> str:
        """A kubeconfig for the same cluster with another user's token, and perhaps another way to the server."""
        seen = json.loads(self("config", "view", "--raw", "--minify", "-o", "json"))["clusters"][0]
        ca = base64.b64decode(seen["cluster"]["certificate-authority-data"])
        return kubeconfigs.kubeconfig(server or seen["cluster"]["server"], ca, token, cluster=seen["name"], user=user)

    def apply(self, objects: Sequence[Mapping[str, object]], *args: str) -> None:
        """Apply objects, server-side."""
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self("apply", "--server-side", f"--field-manager={_FIELD_MANAGER}", *args, "-f", "-", stdin=document)


def register_nodes(kubectl: Kubectl, nodes: Sequence[Mapping[str, object]]) -> None:
    """Create the Node objects, Ready and without the taint that a new Node gets until its kubelet reports."""
    kubectl.apply([{key: value for key, value in node.items() if key != "status"} for node in nodes])
    kubectl.apply([{**node, "metadata": {"name": _name(node)}} for node in nodes], "--subresource=status")
    tainted = [
        name
        for name in map(_name, nodes)
        if "not-ready" in kubectl("get", "node", name, "-o", "jsonpath={.spec.taints}")
    ]
    if tainted:
        kubectl("taint", "nodes", *tainted, "node.kubernetes.io/not-ready-")


def _name(thing: Mapping[str, object]) -> str:
    metadata = thing["metadata"]
    if not isinstance(metadata, Mapping):
        raise TypeError("metadata is a mapping")
    return str(metadata["name"])


def apply_manifests(kubectl: Kubectl, project: Path) -> None:
    """Apply the CRDs and the chart's static manifests; whether the policies act is for `wait_in_force`.

    As the chart does, it leaves out what an older server does not have: the operator adds the finalizer there.

    Raises:
        CommandError: The server refuses one.
    """
    crds = sorted((project / "crds").glob("*.yaml"))
    statics = static_manifests(project, mutating=has_mutating_policies(kubectl))
    if crds:
        names = _apply_files(kubectl, crds)
        kubectl("wait", "--for=condition=Established", "--timeout=30s", *names, timeout=40.0)
    if statics:
        _apply_files(kubectl, statics)


def static_manifests(project: Path, *, mutating: bool) -> list[Path]:
    """The chart's static manifests, in the order in which they can be applied.

    Args:
        project: The project's root.
        mutating: Whether the server has MutatingAdmissionPolicies.
    """
    found = sorted((project / "charts" / "berth" / "files").rglob("*.yaml"))
    return [path for path in found if mutating or path.name != _FINALIZER_POLICY]


def has_mutating_policies(kubectl: Callable[..., str]) -> bool:
    """Whether the server has MutatingAdmissionPolicies of version v1, as Kubernetes 1.36 and later have."""
    listed = json.loads(kubectl("get", "--raw", "/apis/admissionregistration.k8s.io/v1"))
    return any(resource["kind"] == "MutatingAdmissionPolicy" for resource in listed["resources"])


def _apply_files(kubectl: Kubectl, files: Sequence[Path]) -> list[str]:
    listed = [argument for path in files for argument in ("-f", str(path))]
    return kubectl(
        "apply", "--server-side", f"--field-manager={_FIELD_MANAGER}", *listed, "-o", "name", timeout=60.0
    ).split()


def wait_in_force(kubectl: Kubectl, agent: str) -> None:
    """Wait until the server acts on the admission policies, by trying what they must change and what they must refuse.

    A policy's status tells only that a controller has seen it; the server that enforces it reads it separately, a
    moment later. Nothing is created: the tries are dry runs.

    Args:
        kubectl: The administrator's.
        agent: User name of the agents' service account; without a node bound to it, it may do nothing.

    Raises:
        DevError: They are not in force in time.
    """
    deadline = time.monotonic() + _IN_FORCE_TIMEOUT
    waiting: dict[str, Callable[[], bool]] = {"the agents' boundaries": lambda: _refuses(kubectl, agent)}
    if has_mutating_policies(kubectl):
        waiting["the finalizer of VMs"] = lambda: _adds_finalizer(kubectl)
    while waiting := {title: acts for title, acts in waiting.items() if not acts()}:
        if not poll_until(deadline, interval=0.1):
            raise DevError(f"admission policies not in force after {_IN_FORCE_TIMEOUT:g} s: {', '.join(waiting)}")


def _adds_finalizer(kubectl: Kubectl) -> bool:
    try:
        tried = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(_PROBE_VM))
    except CommandError as error:
        if _NOT_YET in str(error):
            return False
        raise
    return bool(json.loads(tried)["metadata"].get("finalizers"))


def _refuses(kubectl: Kubectl, agent: str) -> bool:
    try:
        kubectl("create", "--dry-run=server", f"--as={agent}", "-f", "-", stdin=json.dumps(_PROBE_HYPERVISOR))
    except CommandError as error:
        if "ValidatingAdmissionPolicy" in str(error):
            return True
        if "cannot create" in str(error) or _NOT_YET in str(error):
            return False
        raise
    return False
