"""kubectl as a function, and the objects that every cluster starts with."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from berth_dev import commands, runs
from berth_dev.errors import DevError
from berth_dev.processes import poll_until

_FIELD_MANAGER = "berth-dev"
_IN_FORCE_TIMEOUT = 30.0


class Kubectl:
    """kubectl with a cluster's administrator, of the same version as its server.

    Args:
        program: The kubectl to run.
        kubeconfig: Whose credentials and server it uses.
        run_id: Marks its processes as the run's.
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
        env = runs.environment(self._run_id, {"KUBECONFIG": str(self._kubeconfig)})
        return commands.run([str(self._program), *args], stdin=stdin, timeout=timeout, env=env).stdout

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


def apply_manifests(kubectl: Kubectl, project: Path) -> list[str]:
    """Apply the CRDs and the chart's static manifests, and wait until the server acts on them.

    Returns:
        What was applied, as `kind/name`.

    Raises:
        DevError: A CRD is refused, or a policy does not come into force.
    """
    crds = sorted((project / "crds").glob("*.yaml"))
    statics = sorted((project / "charts" / "berth" / "files").rglob("*.yaml"))
    applied: list[str] = []
    if crds:
        applied += _apply_files(kubectl, crds)
        kubectl(
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            *[name for name in applied if "customresource" in name],
        )
    if statics:
        applied += _apply_files(kubectl, statics)
        _wait_in_force(kubectl, applied)
    return applied


def _apply_files(kubectl: Kubectl, files: Sequence[Path]) -> list[str]:
    listed = [argument for path in files for argument in ("-f", str(path))]
    return kubectl(
        "apply", "--server-side", f"--field-manager={_FIELD_MANAGER}", *listed, "-o", "name", timeout=60.0
    ).split()


def _wait_in_force(kubectl: Kubectl, applied: Sequence[str]) -> None:
    """Wait until every validating policy has been compiled: its status then names the generation that was applied."""
    policies = [name for name in applied if name.startswith("validatingadmissionpolicy.")]
    deadline = time.monotonic() + _IN_FORCE_TIMEOUT
    while policies and not all(_is_observed(kubectl, name) for name in policies):
        if not poll_until(deadline, interval=0.2):
            raise DevError(f"not in force after {_IN_FORCE_TIMEOUT:g} s: {', '.join(policies)}")


def _is_observed(kubectl: Kubectl, policy: str) -> bool:
    found = json.loads(kubectl("get", policy, "-o", "json"))
    return bool(found.get("status", {}).get("observedGeneration", 0) >= found["metadata"]["generation"])
