"""From nothing to guests that answer, telling what happens meanwhile; then the cluster stays, to look around in.

The examples are those of the documentation. Two things in them depend on the machine and are put in here: the
addresses, which they take from the block that RFC 5737 reserves for documentation, and the digest of the image.
"""

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from berth_dev import startup
from berth_dev.clusters import Cluster
from berth_dev.errors import DevError
from berth_dev.processes import poll_until
from berth_dev.progress import Say
from berth_dev.states import Options

DOCUMENTATION_PREFIX = "192.0.2."
NO_DIGEST = "0" * 64
VM = "virtualmachines.berth.dev"
_CONSOLE_FOLDER = "/var/lib/berth/consoles"
EXAMPLES = ("network.yaml", "image.yaml", "vms.yaml")
_GUESTS_TIMEOUT = 300.0
_ANSWER_TIMEOUT = 60.0


@dataclass(frozen=True)
class VmView:
    """What the demo shows of a VM.

    Attributes:
        name: Its name.
        uid: Its UID, which names its console log.
        phase: `status.phase`.
        node: Where it is, if anywhere.
        address: The first address in its status, if any.
        reason: Why it is not Ready, in the words of the first condition that is False.
        is_ready: Whether its condition Ready is True.
    """

    name: str
    uid: str
    phase: str
    node: str
    address: str
    reason: str
    is_ready: bool


def run(name: str, *, say: Say) -> None:
    """Make the cluster (anew, if there is one), apply the examples, and show what comes of them.

    Raises:
        DevError: A guest did not get ready or does not answer.
    """
    cluster = Cluster.up(name, Options(nodes=2), say=say, anew=True)
    say("applying examples/")
    for file in EXAMPLES:
        text = (startup.project_root() / "examples" / file).read_text(encoding="utf-8")
        cluster.kubectl("apply", "-f", "-", stdin=for_cluster(text, cluster))
    vms = watch_until_ready(cluster, say)
    print(cluster.kubectl("get", VM, "-o", "wide"), flush=True)
    for vm in vms:
        print(f"{vm.name} console: {console_line(cluster, vm)}")
        print(f"{vm.name} at http://{vm.address}/: {http_answer(vm.address)}", flush=True)
    print(_farewell(cluster, vms))


def for_cluster(text: str, cluster: Cluster) -> str:
    """Put a cluster's addresses and image digest into an example."""
    prefix = str(cluster.vm_subnet.network_address).rpartition(".")[0] + "."
    return text.replace(DOCUMENTATION_PREFIX, prefix).replace(NO_DIGEST, cluster.images["tiny"].sha256)


def view(vm: Mapping[str, object]) -> VmView:
    """Read a VirtualMachine as the API gives it."""
    metadata, status = _mapping(vm.get("metadata")), _mapping(vm.get("status"))
    conditions = [_mapping(condition) for condition in _items(status.get("conditions"))]
    addresses = [
        str(address)
        for interface in _items(status.get("interfaces"))
        for address in _items(_mapping(interface).get("ipAddresses"))
    ]
    false = [
        f"{one.get('type')}: {one.get('message') or one.get('reason')}"
        for one in conditions
        if one.get("status") == "False"
    ]
    return VmView(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        phase=str(status.get("phase", "Pending")),
        node=str(status.get("nodeName", "")),
        address=addresses[0].partition("/")[0] if addresses else "",
        reason=false[0] if false else "",
        is_ready=any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions),
    )


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []


def watch_until_ready(cluster: Cluster, say: Say) -> list[VmView]:
    """Tell every change of phase until all VMs of the namespace are ready.

    Raises:
        DevError: They are not in time; the message says what each waits for.
    """
    deadline = time.monotonic() + _GUESTS_TIMEOUT
    shown: dict[str, tuple[str, str]] = {}
    while True:
        vms = [view(item) for item in json.loads(cluster.kubectl("get", VM, "-o", "json"))["items"]]
        for vm in vms:
            if shown.get(vm.name) != (vm.phase, vm.node):
                say(f"{vm.name}: {vm.phase}" + (f" on {vm.node}" if vm.node else ""))
            shown[vm.name] = (vm.phase, vm.node)
        if vms and all(vm.is_ready and vm.address for vm in vms):
            return vms
        if not poll_until(deadline, interval=0.5):
            waiting = "\n".join(f"  {vm.name}: {vm.phase}: {vm.reason}" for vm in vms if not vm.is_ready)
            raise DevError(f"not ready after {_GUESTS_TIMEOUT:g} s (make status shows the logs):\n{waiting}")


def console_line(cluster: Cluster, vm: VmView) -> str:
    """The last line but the prompt of a guest's console, once there is one."""
    deadline = time.monotonic() + _ANSWER_TIMEOUT
    log: Path = cluster.node(vm.node).path(f"{_CONSOLE_FOLDER}/{vm.uid}.log")
    while True:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        booted = [line.strip() for line in lines if "booted" in line]
        if booted:
            return booted[-1]
        if not poll_until(deadline, interval=0.2):
            raise DevError(f"{vm.name} has written nothing of its boot to {log} after {_ANSWER_TIMEOUT:g} s")


def http_answer(address: str) -> str:
    """The first line that a guest's web server answers.

    Raises:
        DevError: It does not answer in time.
    """
    deadline = time.monotonic() + _ANSWER_TIMEOUT
    while True:
        connection = http.client.HTTPConnection(address, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read(4096).decode(errors="replace").splitlines()[0]
        except (OSError, http.client.HTTPException, IndexError) as error:
            if not poll_until(deadline, interval=0.2):
                raise DevError(f"http://{address}/ does not answer: {error}") from error
        finally:
            connection.close()


def _farewell(cluster: Cluster, vms: Sequence[VmView]) -> str:
    example = vms[0]
    return (
        f"\nThe cluster stays. To look around:\n"
        f"  export KUBECONFIG={cluster.kubeconfig}\n"
        f"  kubectl get berth,vm -A\n"
        f"  kubectl describe vm {example.name}\n"
        f"  .venv/bin/python -m berth_dev exec --cluster {cluster.name} {example.node} virsh list\n"
        f"  make status\n"
        f"To take it down: make down CLUSTER={cluster.name}"
    )
