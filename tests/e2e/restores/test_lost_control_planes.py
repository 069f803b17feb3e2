"""A control plane is lost and its VMs are restored into another one: guests that still run are adopted, none twice."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.conftest import START_TIMEOUT, VM, address_of, http_answer
from tests.e2e.restores.conftest import furnish
from tests.e2e.restores.controlplanes import backed_up, lose, make_anew, operate, restore
from tests.e2e.traces import all_traces, assert_nothing_left

from berth_dev.clusters import Cluster
from berth_dev.processes import poll_until

pytestmark = pytest.mark.timeout(900)
SHOP = "shop"
Vm = dict[str, Any]


class World:
    """What a user does and sees, whichever control plane is there."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def create(self, name: str, **spec: Any) -> None:
        whole = {
            "cpu": {"cores": 1},
            "memory": {"size": "96Mi"},
            "disks": [
                {"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "tiny"}, "size": "64Mi"}
            ],
            "terminationGracePeriodSeconds": 5,
            **spec,
        }
        metadata = {"name": name, "namespace": SHOP}
        self.cluster.kubectl.apply(
            [{"apiVersion": "berth.dev/v1alpha1", "kind": "VirtualMachine", "metadata": metadata, "spec": whole}]
        )

    def edit(self, name: str, change: dict[str, Any]) -> None:
        self.cluster.kubectl("patch", VM, name, "-n", SHOP, "--type=merge", "-p", json.dumps(change))

    def get(self, name: str) -> Vm:
        found: Vm = json.loads(self.cluster.kubectl("get", VM, name, "-n", SHOP, "-o", "json"))
        return found

    def until(self, name: str, holds: Callable[[Vm], bool], seconds: float = START_TIMEOUT) -> Vm:
        deadline = time.monotonic() + seconds
        while not holds(vm := self.get(name)):
            assert poll_until(deadline, interval=0.3), json.dumps(vm.get("status"), indent=1)
        return vm

    def ready(self, name: str) -> Vm:
        return self.until(name, lambda vm: condition(vm, "Ready").get("status") == "True")

    def waits(self, name: str, reason: str) -> Vm:
        return self.until(name, lambda vm: condition(vm, "Scheduled").get("reason") == reason)

    def remains(self) -> dict[str, Vm]:
        """By name, what nodes tell of."""
        found = json.loads(self.cluster.kubectl("get", "hypervisors.berth.dev", "-o", "json"))["items"]
        return {
            guest["name"]: {**guest, "node": each["metadata"]["name"]}
            for each in found
            for guest in each["status"]["remains"]
        }

    def domains(self) -> dict[str, str]:
        """Node by domain, of all that are defined."""
        listed = {
            node.name: node.exec(["virsh", "list", "--all", "--name"]).stdout.split() for node in self.cluster.nodes
        }
        every = [domain for domains in listed.values() for domain in domains]
        assert len(every) == len(set(every)), f"one is there twice: {listed}"
        return {domain: node for node, domains in listed.items() for domain in domains}

    def pid(self, vm: Vm) -> str:
        domain = f"{SHOP}_{vm['metadata']['name']}"
        return self.cluster.node(vm["status"]["nodeName"]).exec(["cat", f"/run/libvirt/qemu/{domain}.pid"]).stdout


def condition(vm: Vm, kind: str) -> dict[str, str]:
    found = vm.get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == kind), {})


def node_of(vm: Vm) -> str:
    return str(vm.get("status", {}).get("nodeName", ""))


def mac_of(vm: Vm) -> str:
    mac: str = vm["status"]["claim"]["interfaces"][0]["macAddress"]
    return mac


def assert_same(now: Vm, before: Vm) -> None:
    """Another object with the guest of the one before, of which it keeps all that the guest knows of itself."""
    assert now["status"]["nodeName"] == before["status"]["nodeName"]
    assert now["status"]["claim"]["adopts"] == before["metadata"]["uid"] != now["metadata"]["uid"]
    assert now["status"]["domainUUID"] == before["status"]["domainUUID"], "another machine"
    assert (mac_of(now), address_of(now)) == (mac_of(before), address_of(before))


def stop(world: World, vms: dict[str, Vm]) -> None:
    """One because it is asked to, another by itself."""
    world.edit("stopped", {"spec": {"runStrategy": "Halted"}})
    world.until("stopped", lambda vm: vm["status"]["phase"] == "Stopped")
    world.cluster.node(node_of(vms["ended"])).exec(["virsh", "shutdown", f"{SHOP}_ended"])
    world.until("ended", lambda vm: vm["status"]["phase"] == "Stopped")


@pytest.fixture
def world(cluster: Cluster) -> World:
    cluster.kubectl("create", "namespace", SHOP)
    return World(cluster)


def test_restored_vms_go_on_with_their_guests_and_none_runs_twice(cluster: Cluster, world: World) -> None:
    nothing = all_traces(cluster)
    for name in ("bare", "labelled", "whole", "stopped", "ended"):
        world.create(name, runStrategy="Once" if name == "ended" else "Always")
    before = {name: world.ready(name) for name in ("bare", "labelled", "whole", "stopped", "ended")}
    boots = {name: http_answer(address_of(vm))["boot_id"] for name, vm in before.items()}
    pids = {name: world.pid(vm) for name, vm in before.items()}
    stop(world, before)
    where, backup = world.domains(), {vm["metadata"]["name"]: vm for vm in backed_up(cluster)}
    silent = before["labelled"]["status"]["nodeName"]

    lose(cluster)
    make_anew(cluster, furnish, ["node-1", "node-2"])
    cluster.kubectl("create", "namespace", SHOP)
    told = world.remains()
    assert {f"{SHOP}_{name}": guest["node"] for name, guest in told.items()} == where
    assert {name: guest["uid"] for name, guest in told.items()} == {
        n: vm["metadata"]["uid"] for n, vm in before.items()
    }
    assert {guest["pools"][0]["size"] for guest in told.values()} == {"64Mi"}
    cluster.node(silent).agent.stop()
    world.create("newcomer")  # it comes before all others, and has an address chosen first
    restore(cluster, backup["bare"])
    restore(cluster, backup["labelled"], labels=True)
    restore(cluster, backup["whole"], status=True)
    restore(cluster, backup["stopped"], labels=True, status=True)
    restore(cluster, backup["ended"], labels=True)
    time.sleep(12)  # the silence of a node is no event
    operate(cluster)

    newcomer = world.until("newcomer", lambda vm: node_of(vm) not in ("", silent))
    assert address_of(world.ready("newcomer")) not in {address_of(vm) for vm in before.values()}
    world.waits("bare", "Held")
    world.waits("labelled", "Unschedulable")
    assert world.domains() == {**where, f"{SHOP}_newcomer": newcomer["status"]["nodeName"]}
    cluster.start(f"{silent}.agent")

    for name in ("labelled", "whole"):
        world.ready(name)
    world.edit("bare", {"metadata": {"annotations": {"berth.dev/adopt": before["bare"]["status"]["nodeName"]}}})
    for name in ("bare", "labelled", "whole"):
        now = world.ready(name)
        assert_same(now, before[name])
        assert world.pid(now) == pids[name], "another QEMU"
        assert http_answer(address_of(now))["boot_id"] == boots[name], "another boot"
        assert condition(now, "RestartRequired").get("status") != "True"

    stopped = world.until("stopped", lambda vm: node_of(vm) != "" and vm["status"]["phase"] == "Stopped")
    assert (
        world.cluster.node(node_of(stopped)).exec(["virsh", "domstate", f"{SHOP}_stopped"]).stdout.strip() == "shut off"
    )
    world.edit("stopped", {"spec": {"runStrategy": "Always"}})
    stopped = world.ready("stopped")
    assert_same(stopped, before["stopped"])
    assert http_answer(address_of(stopped))["boot_id"] != boots["stopped"]
    ended = world.until("ended", lambda vm: node_of(vm) != "")
    assert ended["status"]["nodeName"] == before["ended"]["status"]["nodeName"]
    assert world.domains() == {**where, f"{SHOP}_newcomer": newcomer["status"]["nodeName"]}

    cluster.kubectl("delete", VM, "--all", "-n", SHOP, "--timeout=120s", timeout=130)
    assert world.remains() == {}
    assert_nothing_left(cluster, nothing)
