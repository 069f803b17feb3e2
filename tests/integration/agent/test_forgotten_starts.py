"""A start that was never reported, and whose guest has ended before anybody looked, is in the record all the same."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.agent.conftest import NODE, Agent
from tests.integration.api.apiserver import ApiServer
from tests.integration.hypervisor.nodes import Node

pytestmark = pytest.mark.integration
Start = Callable[[Path, str], Agent]
NAME = "once"
CLAIM = {
    "id": "c1",
    "epoch": 0,
    "cpu": "1",
    "memory": "1Gi",
    "storage": "16Mi",
    "pools": [{"name": NAME, "size": "16Mi"}],
}
SPEC = {
    "runStrategy": "Once",
    "cpu": {"cores": 1},
    "memory": {"size": "64Mi"},
    "disks": [{"name": "root", "size": "16Mi", "storagePoolName": NAME}],
    "networks": [],
    "terminationGracePeriodSeconds": 0,
}


@pytest.fixture
def bound(server: ApiServer, libvirt: Node, tmp_path: Path) -> Iterator[None]:
    """A VM that is to run once, bound to the node, as the operator would; nothing of it is left."""
    pool = {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "StoragePool",
        "metadata": {"name": NAME},
        "spec": {"path": str(tmp_path / "pool")},
    }
    vm = {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": SPEC,
    }
    for body in (pool, vm):
        server.kubectl("create", "-f", "-", stdin=json.dumps(body))
    _say(server, {"nodeName": NODE, "claim": CLAIM})
    yield
    _edit(server, {"metadata": {"finalizers": None}})
    server.kubectl("delete", "virtualmachines.berth.dev", NAME, "--wait=false")
    server.kubectl("delete", "storagepools.berth.dev", NAME)
    for name in libvirt.virsh("list", "--all", "--name").split():
        if libvirt.virsh("domstate", name).strip() != "shut off":
            libvirt.virsh("destroy", name)
        libvirt.virsh("undefine", "--nvram", name)


def _edit(server: ApiServer, change: dict[str, Any], *arguments: str) -> None:
    patch = ("--type=merge", "-p", json.dumps(change))
    server.kubectl("patch", "virtualmachines.berth.dev", NAME, *arguments, *patch)


def _say(server: ApiServer, status: dict[str, Any]) -> None:
    _edit(server, {"status": status}, "--subresource=status")


def _status(server: ApiServer) -> dict[str, Any]:
    found = json.loads(server.kubectl("get", "virtualmachines.berth.dev", NAME, "-o", "json"))
    status: dict[str, Any] = found["status"]
    return status


@pytest.mark.usefixtures("bound")
def test_a_guest_that_is_to_run_once_does_although_nobody_has_told_of_its_start(
    server: ApiServer, kubeconfig: Path, libvirt: Node, start: Start
) -> None:
    agent = start(kubeconfig, libvirt.uri)
    agent.until(lambda: _status(server).get("phase") == "Running", "it does not run")
    begun = _status(server)["startedAt"]
    agent.process.kill()
    agent.process.wait(30)
    _say(server, {"startedAt": None, "nodeBootID": None, "phase": "Starting", "conditions": None})
    os.kill(libvirt.guest_pid(f"default_{NAME}"), signal.SIGKILL)

    agent = start(kubeconfig, libvirt.uri)
    agent.until(lambda: _status(server).get("phase") == "Stopped", "its end is not told")
    status = _status(server)
    assert (status["startedAt"], status["endReason"], status["stoppedClaim"]) == (begun, "Crashed", "c1")
    assert "StartDomain" not in agent.log.read_text(), "it was started twice"
    assert libvirt.virsh("domstate", f"default_{NAME}").strip() == "shut off"
