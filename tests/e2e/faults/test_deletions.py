"""A delete wins at any moment: it comes through, soon, and nothing is left."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import VM, World, network
from tests.e2e.faults.slow_plugins import NAME, SlowPlugin
from tests.e2e.image_servers import HostileImageServer
from tests.e2e.traces import all_traces, assert_nothing_left

from berth_dev import berthparts, kube, nodes
from berth_dev.processes import poll_until

pytestmark = pytest.mark.e2e

NODE = "node-1"
QUICK: dict[str, Any] = {"nodeName": NODE, "terminationGracePeriodSeconds": 2}
LOST = 60
"""Seconds in which a node that is silent and has no Node object is taken for lost: 20 by the operator's settings."""


@pytest.fixture
def slow(world: World, plugins: Path) -> Iterator[SlowPlugin]:
    """A plugin that holds the ADD of networks named slow."""
    made = SlowPlugin(plugins)
    prefix = str(world.cluster.vm_subnet.network_address).rpartition(".")[0]
    chain = network("slow", prefix)
    chain["spec"]["cni"]["plugins"].append({"type": NAME})
    (subnet,) = chain["spec"]["subnets"]
    subnet["range"] = {"start": f"{prefix}.251", "end": f"{prefix}.254"}
    world.cluster.kubectl.apply([chain])
    yield made
    made.go()
    world.cluster.kubectl("delete", VM, "--all", "-n", world.namespace, "--timeout=60s", timeout=70)
    world.cluster.kubectl("delete", "vnet", "slow")


def test_while_its_image_downloads(world: World, hostile_server: HostileImageServer) -> None:
    before = all_traces(world.cluster)
    source = {"http": {"url": hostile_server.url("hang")}}
    endless = {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "VirtualMachineImage",
        "metadata": {"name": "endless"},
        "spec": {"source": source, "checksum": f"sha256:{'ab' * 32}"},
    }
    disk = {"name": "root", "imageRef": {"kind": "VirtualMachineImage", "name": "endless"}, "size": "64Mi"}
    world.apply(endless, world.vm("web", disks=[disk], **QUICK))
    world.wait_for_reason("web", "DisksReady", "Preparing")
    world.delete("web", timeout=20)
    assert_nothing_left(world.cluster, before)


def test_while_a_plugin_adds_its_interface(world: World, slow: SlowPlugin) -> None:
    before = all_traces(world.cluster)
    world.apply(world.vm("web", networks=[{"name": "a", "networkName": "slow"}], **QUICK))
    slow.wait_for_add()
    world.delete("web", timeout=30)
    assert slow.was_deleted, "an ADD that was cut short is undone by a DEL"
    assert_nothing_left(world.cluster, before)


def test_while_a_plugin_adds_its_interface_and_the_agent_dies(world: World, slow: SlowPlugin) -> None:
    before = all_traces(world.cluster)
    agent = world.cluster.node(NODE).agent
    world.apply(world.vm("web", networks=[{"name": "a", "networkName": "slow"}], **QUICK))
    slow.wait_for_add()
    agent.kill()
    world.kubectl("delete", VM, "web", "--wait=false")
    agent.start()
    world.kubectl("wait", "--for=delete", f"{VM}/web", "--timeout=60s", timeout=70)
    agent.wait_ready()
    assert slow.was_deleted
    slow.go()
    assert_nothing_left(world.cluster, before)


def test_while_its_guest_boots(world: World) -> None:
    before = all_traces(world.cluster)
    world.start(world.vm("web", **QUICK))
    world.delete("web", timeout=20)
    assert_nothing_left(world.cluster, before)


def test_while_it_is_paused(world: World) -> None:
    before = all_traces(world.cluster)
    world.apply(world.vm("web", paused=True, **QUICK))
    world.kubectl("wait", "--for=jsonpath={.status.phase}=Paused", "--timeout=60s", f"{VM}/web", timeout=70)
    world.delete("web", timeout=20)
    assert_nothing_left(world.cluster, before)


def test_in_a_crash_loop(world: World) -> None:
    before = all_traces(world.cluster)
    world.start(world.vm("web", **QUICK))
    node, domain = world.cluster.node(NODE), f"{world.namespace}_web"
    deadline = time.monotonic() + 60
    while world.get("web")["status"]["phase"] != "CrashLoopBackOff":
        if guest := node.qemu(domain):
            guest.identity.send(9)
        assert poll_until(deadline, interval=0.2), "a guest that dies again and again is in a crash loop"
    world.delete("web", timeout=20)
    assert_nothing_left(world.cluster, before)


def test_while_the_agent_is_down(world: World) -> None:
    before = all_traces(world.cluster)
    world.start(world.vm("web", **QUICK))
    agent = world.cluster.node(NODE).agent
    agent.kill()
    world.kubectl("delete", VM, "web", "--wait=false")
    agent.start()
    world.kubectl("wait", "--for=delete", f"{VM}/web", "--timeout=60s", timeout=70)
    agent.wait_ready()
    assert_nothing_left(world.cluster, before)


def test_while_its_node_is_gone(world: World) -> None:
    """The loss is certain once the silent node's Node object is deleted; the guest is reaped when the node returns."""
    cluster = world.cluster
    before, node = all_traces(cluster), cluster.node(NODE)
    world.start(world.vm("web", **QUICK))
    domain = f"{world.namespace}_web"
    registered = nodes.object_of(node, cpus=2, memory_kib=berthparts.machine_memory_kib())
    node.agent.kill()
    try:
        cluster.kubectl("delete", "node", NODE)
        world.kubectl("delete", VM, "web", "--wait=false")
        world.kubectl("wait", "--for=delete", f"{VM}/web", f"--timeout={LOST}s", timeout=LOST + 10)
        assert node.qemu(domain) is not None, "nobody was there to end the guest"
    finally:
        kube.register_nodes(cluster.kubectl, [registered])
        berthparts.write_agent_kubeconfig(cluster.run, cluster.kubectl, node)
        node.agent.start()
        node.agent.wait_ready()
    deadline = time.monotonic() + 30
    while node.qemu(domain) is not None:
        assert poll_until(deadline, interval=0.2), "the guest of a VM that does not exist any more still runs"
    assert_nothing_left(cluster, before)
