"""After a delete nothing is left: no domain, tap, veth, namespace, CNI cache entry, address, disk, seed or log."""

from typing import Any

from tests.e2e.conftest import World, address_of, http_answer
from tests.e2e.image_servers import HostileImageServer
from tests.e2e.traces import all_traces, assert_nothing_left


def test_a_deleted_vm_leaves_nothing(world: World) -> None:
    before = all_traces(world.cluster)
    (vm,) = world.start(
        world.vm(
            "web",
            disks=[
                {"name": "root", "imageRef": {"kind": "ClusterVirtualMachineImage", "name": "tiny"}, "size": "64Mi"},
                {"name": "scratch", "size": "1Gi"},
            ],
            networks=[{"name": "a", "networkName": "default"}, {"name": "b", "networkName": "default"}],
        )
    )
    during = all_traces(world.cluster)
    node = vm["status"]["nodeName"]
    assert all(during[node][kind] != before[node][kind] for kind in before[node]), "the traces show a running VM"

    http_answer(address_of(vm))
    world.delete("web")
    assert_nothing_left(world.cluster, before)
    world.cluster.kubectl("wait", "--for=jsonpath={.status.allocated}=0", "vnet/default", "--timeout=20s", timeout=30)


def test_a_vm_is_deleted_while_its_image_downloads(world: World, hostile_server: HostileImageServer) -> None:
    before = all_traces(world.cluster)
    world.apply(_image("endless", hostile_server.url("hang"), "ab" * 32), _vm_on(world, "endless"))
    world.wait_for_reason("web", "DisksReady", "Preparing")
    world.delete("web", timeout=20)
    assert_nothing_left(world.cluster, before)


def test_a_vm_is_deleted_while_its_agent_is_down(world: World) -> None:
    before = all_traces(world.cluster)
    (vm,) = world.start(world.vm("web"))
    agent = world.cluster.node(vm["status"]["nodeName"]).agent
    agent.stop()
    world.kubectl("delete", "vm", "web", "--wait=false")
    agent.start()
    agent.wait_ready()
    world.kubectl("wait", "--for=delete", "vm/web", "--timeout=60s", timeout=70)
    assert_nothing_left(world.cluster, before)


def test_a_vm_whose_object_vanished_while_the_agent_was_down_is_reaped(world: World) -> None:
    before = all_traces(world.cluster)
    (vm,) = world.start(world.vm("web"))
    node = world.cluster.node(vm["status"]["nodeName"])
    node.agent.stop()
    world.kubectl("delete", "vm", "web", "--wait=false")
    world.kubectl("patch", "vm", "web", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    node.agent.start()
    node.agent.wait_ready()
    assert_nothing_left(world.cluster, before)


def _image(name: str, url: str, digest: str) -> dict[str, Any]:
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "VirtualMachineImage",
        "metadata": {"name": name},
        "spec": {"source": {"http": {"url": url}}, "checksum": f"sha256:{digest}"},
    }


def _vm_on(world: World, image: str) -> dict[str, Any]:
    disk = {"name": "root", "imageRef": {"kind": "VirtualMachineImage", "name": image}, "size": "64Mi"}
    return world.vm("web", disks=[disk])
