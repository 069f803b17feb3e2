"""One cluster of two nodes for all end-to-end tests: real control plane, libvirtd, QEMU, CNI plugins and guests.

A test gets a namespace of its own in it, and leaves nothing behind: its VMs are deleted at its end, and then the nodes
must be as they were before it.
"""

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from tests.e2e.image_servers import HostileImageServer
from tests.e2e.traces import all_traces, assert_nothing_left

from berth_dev.clusters import Cluster
from berth_dev.processes import poll_until
from berth_dev.states import Options

VM = "virtualmachines.berth.dev"
START_TIMEOUT = 120
"""Seconds for a tiny guest: it takes about 5; the rest is for a busy machine."""
STALL_SECONDS = "3"
NUMBERS = count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    made = Cluster.up(
        "e2e",
        Options(
            nodes=2,
            agent_env={
                "BERTH_AGENT_IMAGE_ALLOWED_CIDRS": "10.0.0.0/8",
                "BERTH_AGENT_IMAGE_STALL": STALL_SECONDS,
                "BERTH_AGENT_IMAGE_FILE_DIR": "/var/lib/berth/import",
            },
        ),
        say=print,
        anew=True,
    )
    prefix = str(made.vm_subnet.network_address).rpartition(".")[0]
    made.kubectl.apply([network("default", prefix), image("tiny", made), image("debian", made)])
    yield made
    made.down()


@pytest.fixture(scope="session")
def hostile_server(cluster: Cluster) -> Iterator[HostileImageServer]:
    with HostileImageServer(str(cluster.vm_gateway), cluster.images["tiny"].path) as server:
        yield server


@pytest.fixture
def world(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator["World"]:
    readable = "".join(c if c.isalnum() else "-" for c in request.node.name.removeprefix("test_").lower())
    namespace = f"{readable[:40].strip('-')}-{next(NUMBERS)}"
    before = all_traces(cluster)
    cluster.kubectl("create", "namespace", namespace)
    made = World(cluster, namespace)
    yield made
    cluster.kubectl("delete", VM, "--all", "-n", namespace, "--timeout=120s", timeout=130)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    assert_nothing_left(cluster, before)


def network(name: str, prefix: str, **plugin: Any) -> dict[str, Any]:
    bridge = {"type": "bridge", "bridge": "vmbr0", "ipam": {"type": "static"}}
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "VirtualNetwork",
        "metadata": {"name": name},
        "spec": {
            "cni": {
                "cniVersion": "1.0.0",
                "plugins": [{**bridge, "capabilities": {"ips": True, "mac": True}, **plugin}],
            },
            "subnets": [
                {
                    "cidr": f"{prefix}.0/24",
                    "gateway": f"{prefix}.1",
                    "range": {"start": f"{prefix}.10", "end": f"{prefix}.250"},
                }
            ],
        },
    }


def image(name: str, cluster: Cluster) -> dict[str, Any]:
    built = cluster.images[name]
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "ClusterVirtualMachineImage",
        "metadata": {"name": name},
        "spec": {"source": {"http": {"url": built.url}}, "checksum": f"sha256:{built.sha256}"},
    }


@dataclass
class World:
    """A namespace in the cluster, and the few things that tests do in it."""

    cluster: Cluster
    namespace: str

    def apply(self, *objects: dict[str, Any]) -> None:
        self.cluster.kubectl.apply([{**o, "metadata": {"namespace": self.namespace, **o["metadata"]}} for o in objects])

    def vm(self, name: str, *, image_kind: str = "ClusterVirtualMachineImage", **spec: Any) -> dict[str, Any]:
        """A small VM on the tiny image; `spec` replaces parts of it."""
        whole: dict[str, Any] = {
            "cpu": {"cores": 1},
            "memory": {"size": "96Mi"},
            "disks": [{"name": "root", "imageRef": {"kind": image_kind, "name": "tiny"}, "size": "64Mi"}],
            **spec,
        }
        return {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "VirtualMachine",
            "metadata": {"name": name},
            "spec": {key: value for key, value in whole.items() if value is not None},
        }

    def start(self, *vms: dict[str, Any], timeout: int = START_TIMEOUT) -> list[dict[str, Any]]:
        """Apply VMs and wait until they are Ready; returns them as they are then."""
        self.apply(*vms)
        names = [f"{VM}/{vm['metadata']['name']}" for vm in vms]
        self.kubectl("wait", "--for=condition=Ready", f"--timeout={timeout}s", *names, timeout=timeout + 10)
        return [self.get(vm["metadata"]["name"]) for vm in vms]

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", VM, name, "-o", "json"))
        return found

    def kubectl(self, *args: str, timeout: float = 30.0) -> str:
        return self.cluster.kubectl("-n", self.namespace, *args, timeout=timeout)

    def wait_for_reason(self, name: str, condition: str, reason: str, timeout: int = 60) -> str:
        """Wait until a condition has this reason; returns its message."""
        path = f"{{.status.conditions[?(@.type=='{condition}')].reason}}"
        self.kubectl(
            "wait", f"--for=jsonpath={path}={reason}", f"--timeout={timeout}s", f"{VM}/{name}", timeout=timeout + 10
        )
        return self.condition(name, condition)["message"]

    def wait_for_any(self, name: str, *reasons: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until a condition, whichever, has one of the reasons; returns the condition."""
        deadline = time.monotonic() + seconds
        while True:
            conditions = self.get(name).get("status", {}).get("conditions", [])
            found = next((c for c in conditions if c["reason"] in reasons), None)
            if found is not None:
                return dict(found)
            assert poll_until(deadline, interval=0.2), f"no condition has a reason of {reasons}: {conditions}"

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        found = self.get(name).get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == kind), {})

    def delete(self, name: str, timeout: int = 60) -> None:
        self.kubectl("delete", VM, name, f"--timeout={timeout}s", timeout=timeout + 10)


def address_of(vm: dict[str, Any]) -> str:
    address: str = vm["status"]["interfaces"][0]["ipAddresses"][0]
    return address


def http_answer(address: str, *, seconds: float = 90.0, timeout: float = 1.0) -> dict[str, str]:
    """What the tiny guest's web server says of itself, as soon as it answers."""
    deadline = time.monotonic() + seconds
    while True:
        connection = http.client.HTTPConnection(address, timeout=timeout)
        try:
            connection.request("GET", "/")
            lines = connection.getresponse().read(65536).decode(errors="replace").splitlines()
            return dict(line.partition(" ")[::2] for line in lines)
        except (OSError, http.client.HTTPException):
            if not poll_until(deadline, interval=0.1):
                raise
        finally:
            connection.close()
