"""A VM's life on real nodes: halted, started, restarted, paused, crashed, probed, given more."""

import json
import signal
import time
from typing import Any

import pytest
from tests.e2e.conftest import VM, World, address_of, http_answer

from berth_dev.processes import poll_until


def patch(world: World, name: str, **spec: Any) -> None:
    world.kubectl("patch", VM, name, "--type=merge", "-p", json.dumps({"spec": spec}))


def wait_for(world: World, name: str, path: str, value: str, seconds: int = 90) -> dict[str, Any]:
    world.kubectl(
        "wait", f"--for=jsonpath={{{path}}}={value}", f"{VM}/{name}", f"--timeout={seconds}s", timeout=seconds + 10
    )
    return world.get(name)


def domain_state(world: World, vm: dict[str, Any]) -> str:
    node = world.cluster.node(vm["status"]["nodeName"])
    return node.exec(["virsh", "domstate", f"{world.namespace}_{vm['metadata']['name']}"]).stdout.strip()


def events_about(world: World, name: str) -> list[str]:
    found = json.loads(world.kubectl("get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "json"))
    return [event["reason"] for event in found["items"]]


def test_a_halted_vm_gives_its_cpu_and_memory_back_and_claims_them_again(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    boot = http_answer(address_of(vm))["boot_id"]

    patch(world, "web", runStrategy="Halted")
    stopped = wait_for(world, "web", ".status.phase", "Stopped")
    assert stopped["status"]["stoppedClaim"] == vm["status"]["claim"]["id"]
    assert domain_state(world, vm) == "shut off"

    patch(world, "web", runStrategy="Always")
    again = wait_for(world, "web", ".status.phase", "Running")
    assert again["status"]["claim"]["id"] != vm["status"]["claim"]["id"]
    assert again["status"]["nodeName"] == vm["status"]["nodeName"]
    assert address_of(again) == address_of(vm)
    assert http_answer(address_of(again))["boot_id"] != boot
    assert "stoppedClaim" not in again["status"]
    assert {"Started", "Killing", "Stopped"} <= set(events_about(world, "web"))


def test_a_new_value_of_restarted_at_restarts_the_guest_once(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    boot = http_answer(address_of(vm))["boot_id"]
    patch(world, "web", restartedAt="2026-01-02T03:04:05Z")
    restarted = wait_for(world, "web", ".status.restartedAt", "2026-01-02T03:04:05Z")
    assert restarted["status"]["restartCount"] == 1
    wait_for(world, "web", ".status.phase", "Running")
    assert http_answer(address_of(vm))["boot_id"] != boot
    patch(world, "web", restartedAt=None)
    again = wait_for(world, "web", ".status.observedGeneration", str(world.get("web")["metadata"]["generation"]))
    assert again["status"]["restartCount"] == 1
    assert again["status"]["startedAt"] == restarted["status"]["startedAt"]


def test_a_paused_guest_stands_and_goes_on_as_it_was(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    boot = http_answer(address_of(vm))["boot_id"]
    patch(world, "web", paused=True)
    paused = wait_for(world, "web", ".status.phase", "Paused")
    assert domain_state(world, vm) == "paused"
    said = {(c["type"], c["status"]) for c in paused["status"]["conditions"]}
    assert {("Paused", "True"), ("Ready", "False")} <= said
    patch(world, "web", paused=False)
    wait_for(world, "web", ".status.phase", "Running")
    assert http_answer(address_of(vm))["boot_id"] == boot


def test_a_guest_whose_qemu_dies_is_started_again_after_a_pause(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    boot = http_answer(address_of(vm))["boot_id"]
    qemu = world.cluster.node(vm["status"]["nodeName"]).qemu(f"{world.namespace}_web")
    assert qemu is not None
    qemu.identity.send(signal.SIGKILL)
    crashed = wait_for(world, "web", ".status.phase", "CrashLoopBackOff")
    assert crashed["status"]["endReason"] == "Crashed"
    assert crashed["status"]["failureCount"] == 1
    again = wait_for(world, "web", ".status.phase", "Running")
    assert again["status"]["restartCount"] == 1
    assert http_answer(address_of(vm))["boot_id"] != boot
    assert "BackOff" in events_about(world, "web")


def test_a_guest_that_reboots_itself_is_not_restarted(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    boot = http_answer(address_of(vm))["boot_id"]
    node = world.cluster.node(vm["status"]["nodeName"])
    node.exec(["virsh", "reset", f"{world.namespace}_web"])
    deadline = time.monotonic() + 60
    while http_answer(address_of(vm))["boot_id"] == boot:
        assert poll_until(deadline, interval=0.2)
    after = world.get("web")["status"]
    assert after["startedAt"] == vm["status"]["startedAt"]
    assert "restartCount" not in after


def test_once_runs_once_and_a_restart_that_is_asked_for_runs_it_again(world: World) -> None:
    (vm,) = world.start(world.vm("job", runStrategy="Once"))
    http_answer(address_of(vm))
    node = world.cluster.node(vm["status"]["nodeName"])
    node.exec(["virsh", "shutdown", f"{world.namespace}_job"])
    ended = wait_for(world, "job", ".status.phase", "Stopped")
    assert ended["status"]["endReason"] == "PoweredOff"
    assert ended["status"]["stoppedClaim"] == ended["status"]["claim"]["id"]
    patch(world, "job", restartedAt="2026-01-02T03:04:05Z")
    wait_for(world, "job", ".status.phase", "Running")


def test_probes_decide_whether_a_guest_is_ready_and_whether_it_lives(world: World) -> None:
    ready = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
    dead = {"tcpSocket": {"port": 81}, "initialDelaySeconds": 15, "periodSeconds": 1, "failureThreshold": 2}
    world.apply(world.vm("served", readinessProbe=ready), world.vm("hung", livenessProbe=dead))
    early = wait_for(world, "served", ".status.phase", "Running")
    assert world.wait_for_any("served", "ReadinessProbeFailed", "GuestRunning")
    served = wait_for(world, "served", ".status.conditions[?(@.type=='Ready')].status", "True")
    assert http_answer(address_of(served))
    assert served["status"]["startedAt"] == early["status"]["startedAt"]
    hung = wait_for(world, "hung", ".status.endReason", "ProbeFailed", 120)
    assert hung["status"]["phase"] == "CrashLoopBackOff"
    assert "Unhealthy" in events_about(world, "hung")


def test_what_can_be_plugged_in_is_and_the_rest_waits_for_a_restart(world: World) -> None:
    (vm,) = world.start(world.vm("web", cpu={"cores": 1, "sockets": 1, "maxSockets": 2}))
    boot = http_answer(address_of(vm))["boot_id"]
    node = world.cluster.node(vm["status"]["nodeName"])
    domain = f"{world.namespace}_web"

    patch(world, "web", cpu={"sockets": 2})
    wait_for(world, "web", ".status.claim.cpu", "2")
    wait_for(world, "web", ".status.admittedClaim", world.get("web")["status"]["claim"]["id"])
    assert http_answer(address_of(vm))["boot_id"] == boot

    patch(world, "web", memory={"size": "160Mi"})
    waiting = world.wait_for_reason("web", "RestartRequired", "SpecChanged")
    assert "memory" in waiting
    assert node.exec(["virsh", "vcpucount", domain, "--live", "--current"]).stdout.strip() == "2"
    patch(world, "web", restartedAt="2026-01-02T03:04:05Z")
    wait_for(world, "web", ".status.restartedAt", "2026-01-02T03:04:05Z")
    wait_for(world, "web", ".status.phase", "Running")
    conditions = {c["type"] for c in world.get("web")["status"]["conditions"]}
    assert "RestartRequired" not in conditions
    assert "163840" in node.exec(["virsh", "dumpxml", domain]).stdout


def test_the_node_says_what_the_guest_says_of_itself(world: World) -> None:
    (vm,) = world.start(world.vm("web"))
    told = wait_for(world, "web", ".status.guest.hostname", "web", 120)
    addresses = [a for nic in told["status"]["guest"]["interfaces"] for a in nic["ipAddresses"]]
    assert any(a.startswith(address_of(vm)) for a in addresses)


@pytest.mark.parametrize("strategy", ["Always", "Halted"])
def test_a_vm_in_any_state_can_be_deleted(world: World, strategy: str) -> None:
    world.start(world.vm("web", terminationGracePeriodSeconds=2))
    patch(world, "web", runStrategy=strategy, paused=True)
    world.delete("web")
