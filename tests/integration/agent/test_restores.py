"""A control plane is lost and made anew: guests run on under an agent that serves another cluster, and are adopted.

Another cluster is played by another identity in the guest's record, and a restore by a new object of the same name.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.agent.conftest import NODE, Agent
from tests.integration.api.apiserver import ApiServer
from tests.integration.hypervisor.nodes import Node

from berth_agent.domain.metadata import NAMESPACE_URI, PREFIX, handed_over

pytestmark = pytest.mark.integration
Start = Callable[[Path, str], Agent]
NAME = "restored"
DOMAIN = f"default_{NAME}"
SPEC = {
    "cpu": {"cores": 1},
    "memory": {"size": "64Mi"},
    "disks": [{"name": "root", "size": "16Mi", "storagePoolName": NAME}],
    "networks": [],
    "terminationGracePeriodSeconds": 0,
}


class World:
    """What the operator and the administrator do, and what the node shows."""

    def __init__(self, server: ApiServer, libvirt: Node, folder: Path) -> None:
        self.server, self.libvirt, self.folder = server, libvirt, folder

    def create(self, claim: str, adopts: str | None = None) -> str:
        """Create the VM and bind it; its UID."""
        kind = {"apiVersion": "berth.dev/v1alpha1", "kind": "VirtualMachine"}
        body = {**kind, "metadata": {"name": NAME, "namespace": "default"}, "spec": SPEC}
        self.server.kubectl("create", "-f", "-", stdin=json.dumps(body))
        uid = str(self.vm()["metadata"]["uid"])
        bound = {
            "id": claim,
            "epoch": 0,
            "cpu": "1",
            "memory": "1Gi",
            "storage": "16Mi",
            "pools": [{"name": NAME, "size": "16Mi"}],
            "virtualMachineUID": uid,
            **({"adopts": adopts} if adopts else {}),
        }
        self.edit({"status": {"nodeName": NODE, "claim": bound}}, "--subresource=status")
        return uid

    def lose(self) -> None:
        """The object goes without anybody being asked, as with its cluster, and so does what the node has told."""
        self.server.kubectl("delete", "hypervisors.berth.dev", NODE, "--ignore-not-found")
        self.server.kubectl("delete", "virtualmachines.berth.dev", NAME, "--wait=false")
        self.edit({"metadata": {"finalizers": None}})
        self.server.kubectl("wait", "--for=delete", f"virtualmachines.berth.dev/{NAME}", "--timeout=30s")

    def edit(self, change: dict[str, Any], *arguments: str) -> None:
        patch = ("--type=merge", "-p", json.dumps(change))
        self.server.kubectl("patch", "virtualmachines.berth.dev", NAME, *arguments, *patch)

    def vm(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.server.kubectl("get", "virtualmachines.berth.dev", NAME, "-o", "json"))
        return found

    def phase(self) -> str:
        return str(self.vm().get("status", {}).get("phase", ""))

    def remains(self) -> list[str]:
        text = self.server.kubectl("get", "hypervisors.berth.dev", NODE, "-o", "json", "--ignore-not-found")
        return [each["uid"] for each in json.loads(text or "{}").get("status", {}).get("remains", [])]

    def record(self, *where: str) -> str:
        return self.libvirt.virsh("metadata", DOMAIN, NAMESPACE_URI, *where)

    def estrange(self, uid: str) -> None:
        """Let another cluster have made the guest."""
        (self.folder / "state/origins" / f"{uid}.json").unlink()
        for where in ("--config", "--live"):
            before = self.record(where)
            record = handed_over(before, namespace="default", name=NAME, uid=uid, cluster="another-cluster")
            self.libvirt.virsh("metadata", DOMAIN, NAMESPACE_URI, where, "--key", PREFIX, "--set", record)


@pytest.fixture
def world(server: ApiServer, libvirt: Node, tmp_path: Path) -> Iterator[World]:
    """A storage pool, and in the end nothing."""
    kind = {"apiVersion": "berth.dev/v1alpha1", "kind": "StoragePool"}
    pool = {**kind, "metadata": {"name": NAME}, "spec": {"path": str(tmp_path / "pool")}}
    server.kubectl("create", "-f", "-", stdin=json.dumps(pool))
    made = World(server, libvirt, tmp_path)
    yield made
    made.lose()
    server.kubectl("delete", "storagepools.berth.dev", NAME)
    if DOMAIN in libvirt.virsh("list", "--all", "--name").split():
        libvirt.virsh("destroy", DOMAIN)
        libvirt.virsh("undefine", "--nvram", DOMAIN)


def test_another_clusters_guest_survives_the_agents_start_and_is_adopted_as_it_runs(
    world: World, kubeconfig: Path, libvirt: Node, start: Start
) -> None:
    former = world.create("c1")
    agent = start(kubeconfig, libvirt.uri)
    agent.until(lambda: world.phase() == "Running", "it does not run")
    pid = libvirt.guest_pid(DOMAIN)
    agent.terminate()
    world.estrange(former)
    world.lose()

    agent = start(kubeconfig, libvirt.uri)
    agent.until(lambda: world.remains() == [former], "the node does not tell of it")
    assert libvirt.guest_pid(DOMAIN) == pid
    assert "DestroyDomain" not in agent.log.read_text()

    uid = world.create("c2", adopts=former)
    agent.until(lambda: world.phase() == "Running", "it is not adopted")
    agent.until(lambda: world.remains() == [], "the node still tells of it")
    assert libvirt.guest_pid(DOMAIN) == pid, "another guest"
    for where in ("--live", "--config"):
        assert uid in world.record(where)
        assert former not in world.record(where)
    assert [path.name for path in sorted((world.folder / "pool").iterdir())] == [f"{uid}-root.qcow2"]
    assert [path.stem for path in (world.folder / "state/seeds").iterdir()] == [uid]
    steps = [line for line in agent.log.read_text().splitlines() if "step done" in line]
    assert not [line for line in steps if "Start" in line or "Define" in line or "CreateDisk" in line]

    agent.process.kill()
    agent.process.wait(30)
    agent = start(kubeconfig, libvirt.uri)
    agent.until(lambda: agent.get(agent.liveness_url)[0] == 200, "it does not come up")
    world.edit({"spec": {"runStrategy": "Halted"}})
    agent.until(lambda: world.phase() == "Stopped", "it cannot be stopped under its new name")
    world.edit({"spec": {"runStrategy": "Always"}})
    claim = {**world.vm()["status"]["claim"], "id": "c3"}
    world.edit({"status": {"claim": claim}}, "--subresource=status")
    agent.until(lambda: world.phase() == "Running", "it does not start under its new name")
    assert libvirt.virsh("domuuid", DOMAIN).strip() == former, "the guest knows itself by another UUID"
