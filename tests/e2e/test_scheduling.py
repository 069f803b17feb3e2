"""A VM that fits nowhere says why, and runs when room appears."""

import json

from tests.e2e.conftest import VM, World, address_of, http_answer

from berth_api.quantities import to_bytes


def test_a_vm_that_fits_nowhere_says_why_and_runs_when_room_appears(world: World) -> None:
    world.cluster.kubectl("patch", "hv", "node-1", "--type=merge", "-p", '{"spec":{"schedulable":false}}')
    world.cluster.kubectl("patch", "hv", "node-2", "--type=merge", "-p", '{"spec":{"schedulable":false}}')
    try:
        world.apply(world.vm("web"))
        message = world.wait_for_reason("web", "Scheduled", "Unschedulable")
        assert message.startswith("0/2 nodes: ")
        assert world.get("web")["status"]["phase"] == "Unschedulable"
    finally:
        world.cluster.kubectl("patch", "hv", "node-1", "--type=merge", "-p", '{"spec":{"schedulable":true}}')
        world.cluster.kubectl("patch", "hv", "node-2", "--type=merge", "-p", '{"spec":{"schedulable":true}}')
    world.kubectl("wait", "--for=condition=Ready", f"{VM}/web", "--timeout=120s", timeout=130)
    assert http_answer(address_of(world.get("web")))["hostname"] == "web"


def test_memory_that_no_node_has_is_named_with_what_is_short(world: World) -> None:
    world.apply(world.vm("huge", memory={"size": "1Ti"}))
    message = world.wait_for_reason("huge", "Scheduled", "Unschedulable")
    assert "2 lack memory" in message
    assert "short of" in message


def test_a_vm_waits_for_the_room_that_another_gives_back(world: World) -> None:
    node = json.loads(world.cluster.kubectl("get", "hv", "node-1", "-o", "json"))
    more_than_half = {"size": f"{to_bytes(node['status']['capacity']['memory']) * 55 // 100 // 2**20}Mi"}
    first, second = (world.vm(name, nodeName="node-1", memory=more_than_half) for name in ("first", "second"))
    world.start(first)
    world.apply(second)
    assert "1 lacks memory" in world.wait_for_reason("second", "Scheduled", "Unschedulable")
    world.delete("first")
    world.kubectl("wait", "--for=condition=Ready", f"{VM}/second", "--timeout=120s", timeout=130)


def test_a_pin_is_kept(world: World) -> None:
    vms = world.start(world.vm("a", nodeName="node-2"), world.vm("b", nodeName="node-2"))
    assert [vm["status"]["nodeName"] for vm in vms] == ["node-2", "node-2"]
