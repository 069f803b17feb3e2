"""Killing any part of Berth leaves the guests alone."""

import signal

from tests.e2e.conftest import VM, World, address_of, http_answer

from berth_dev.parts import Part


def domain_id(world: World, vm: dict[str, object]) -> str:
    node = world.cluster.node(vm["status"]["nodeName"])  # type: ignore[index]
    return node.exec(["virsh", "domid", f"{world.namespace}_{vm['metadata']['name']}"]).stdout.strip()  # type: ignore[index]


def kill_and_start(part: Part) -> None:
    part.kill(signal.SIGKILL)
    part.start()
    part.wait_ready()


def test_an_agent_that_is_killed_and_started_again_does_not_touch_the_guest(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    boot, running = http_answer(address_of(vm))["boot_id"], domain_id(world, vm)

    kill_and_start(world.cluster.node(vm["status"]["nodeName"]).agent)

    second = world.vm("second", nodeName=vm["status"]["nodeName"])
    world.start(second)
    assert http_answer(address_of(vm))["boot_id"] == boot
    assert domain_id(world, vm) == running
    assert world.get("web")["status"]["startedAt"] == vm["status"]["startedAt"]


def test_an_operator_that_is_killed_and_started_again_keeps_its_ledger(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    kill_and_start(world.cluster.operator)
    (second,) = world.start(world.vm("second"))
    assert address_of(second) != address_of(vm)
    assert world.get("web")["status"]["claim"] == vm["status"]["claim"]


def test_a_libvirtd_that_is_killed_and_started_again_leaves_the_guest_running(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    boot = http_answer(address_of(vm))["boot_id"]
    node = world.cluster.node(vm["status"]["nodeName"])
    kill_and_start(node.libvirtd)
    world.start(world.vm("second", nodeName=node.name))
    assert http_answer(address_of(vm))["boot_id"] == boot


def test_a_guest_that_is_destroyed_behind_berths_back_is_started_again(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    boot = http_answer(address_of(vm))["boot_id"]
    node = world.cluster.node(vm["status"]["nodeName"])
    node.exec(["virsh", "destroy", f"{world.namespace}_web"])
    world.kubectl("wait", "--for=jsonpath={.status.restartCount}=1", f"{VM}/web", "--timeout=60s", timeout=70)
    assert http_answer(address_of(vm))["boot_id"] != boot
