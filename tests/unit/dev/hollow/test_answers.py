"""What a hollow node owes a VM, and what it then says: nothing that the API would not take, and nothing twice."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.dev.hollow.watched import claim, vm_body

from berth_api.virtualmachines import VirtualMachineStatus
from berth_dev.hollow import answers
from berth_dev.hollow.answers import Step, next_step
from berth_dev.hollow.machines import Machine
from berth_dev.hollow.options import Shape
from berth_dev.hollow.rooms import Refusal

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def machine(node: str = "hollow-0001", *, deleted: bool = False, halted: bool = False, **status: Any) -> Machine:
    body = vm_body("web", node, **status)
    body["metadata"] |= {"uid": "u1", "resourceVersion": "7", "generation": 3}
    if deleted:
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if halted:
        body["spec"]["runStrategy"] = "Halted"
    return Machine.read(body)


def after(status: dict[str, Any], **how: Any) -> Machine:
    """The VM as it is once this was written."""
    return machine(**how, **status)


def holds(whole: Any, part: Any) -> bool:
    """Whether nothing of the part is missing."""
    if isinstance(part, dict):
        return all(name in whole and holds(whole[name], value) for name, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(holds, whole, part))
    return bool(whole == part)


@pytest.mark.parametrize(
    ("vm", "step"),
    [
        (machine(node=""), None),
        (machine(), Step.ADMIT),
        (machine(refusedClaim="c1"), None),
        (machine(refusedClaim="c0", admittedClaim="c0"), Step.ADMIT),
        (machine(admittedClaim="c1", phase="Starting", observedGeneration=3), Step.BOOT),
        (machine(admittedClaim="c1", phase="Running", observedGeneration=3), None),
        (machine(admittedClaim="c1", phase="Running", observedGeneration=2), Step.BOOT),
        (machine(halted=True), Step.STOP),
        (machine(halted=True, admittedClaim="c1", phase="Stopped", observedGeneration=3), Step.STOP),
        (machine(halted=True, stoppedClaim="c1", phase="Stopped", observedGeneration=3), None),
        (machine(halted=True, stoppedClaim="c1", phase="Stopped", observedGeneration=2), Step.STOP),
        (machine(admittedClaim="c1", phase="Stopped", observedGeneration=3), Step.BOOT),
        (machine(admittedClaim="c1", stoppedClaim="c1", phase="Stopped", observedGeneration=2), None),
        (machine(admittedClaim="c0", stoppedClaim="c0", phase="Stopped", observedGeneration=2), Step.ADMIT),
        (machine(admittedClaim="c0", phase="Running", observedGeneration=3), Step.RESIZE),
        (machine(deleted=True), Step.RELEASE),
        (machine(deleted=True, admittedClaim="c1", phase="Running"), Step.RELEASE),
        (machine(deleted=True, releasedClaim="c1"), None),
    ],
)
def test_the_next_step_follows_from_the_object_alone(vm: Machine, step: Step | None) -> None:
    assert next_step(vm) is step


def test_each_answer_is_a_status_of_the_api_and_leads_to_the_next() -> None:
    vm = machine()
    admitted = answers.admitted(vm, NOW)
    assert next_step(after(admitted)) is Step.BOOT
    running = answers.running(after(admitted), Shape(), NOW + timedelta(seconds=5))
    assert next_step(after(running)) is None
    stopped = answers.stopped(after(running, halted=True), NOW)
    assert next_step(after(stopped, halted=True)) is None
    released = answers.released(after(running, deleted=True), NOW)
    assert next_step(after(released, deleted=True)) is None
    refused = answers.refused(vm, Refusal("InsufficientCPU", "short"), NOW)
    assert next_step(after(refused)) is None
    for status in (admitted, running, stopped, released, refused):
        assert holds(VirtualMachineStatus.model_validate(status).to_api(), status)


def test_a_running_vm_shows_its_addresses_without_prefix() -> None:
    status = answers.running(machine(admittedClaim="c1"), Shape(), NOW)
    (nic,) = status["interfaces"]
    assert (nic["networkName"], nic["ipAddresses"]) == ("lan", ["10.7.0.9"])
    assert [disk["name"] for disk in status["disks"]] == ["root"]
    assert {one["type"]: one["status"] for one in status["conditions"]}["Ready"] == "True"


def test_a_transition_is_dated_once() -> None:
    first = answers.running(machine(admittedClaim="c1"), Shape(), NOW)
    again = answers.running(after(first), Shape(), NOW + timedelta(hours=1))
    assert again == first
    ended = answers.released(after(first, deleted=True), NOW + timedelta(hours=1))
    assert ended["conditions"][0]["lastTransitionTime"] == "2026-01-01T01:00:00Z"


def test_a_claim_is_read_in_whole_numbers() -> None:
    body = claim(cpu="1500m", memory="2300Mi", pools=[{"name": "fast", "size": "10G"}])
    read = machine(claim=body).claim
    assert read is not None
    assert (read.cpu, read.memory, read.pools) == (1500, 2300 * 2**20, {"fast": 10 * 10**9})
