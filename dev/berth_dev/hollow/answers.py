"""What a node says of a VM that is bound to it, and when: the agent's answers, without anything done in between.

Pure. As with the agent, a boot takes two writes (the admission, before anything would be made, and Running), a deletion
one, and an unchanged VM none.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from berth_dev.hollow.machines import Machine
from berth_dev.hollow.objects import whole_seconds
from berth_dev.hollow.options import Shape
from berth_dev.hollow.rooms import Refusal


class Step(StrEnum):
    """What a node does next for a VM."""

    ADMIT = "Admit"
    BOOT = "Boot"
    RESIZE = "Resize"
    """Another claim came while the guest runs."""
    STOP = "Stop"
    RELEASE = "Release"


def next_step(vm: Machine) -> Step | None:
    """What the node owes the VM; None where it has said all there is to say."""
    if vm.pending is None:
        return None
    if vm.is_deleted:
        return Step.RELEASE
    if vm.is_halted:
        return None if _says(vm, "Stopped") and vm.is_stopped else Step.STOP
    return None if vm.is_stopped else _next_to_run(vm)


def _next_to_run(vm: Machine) -> Step | None:
    if vm.is_admitted:
        return None if _says(vm, "Running") else Step.BOOT
    if not vm.admitted or vm.phase != "Running":
        return Step.ADMIT
    return None if _says(vm, "Running") and "RestartRequired" in vm.conditions else Step.RESIZE


def _says(vm: Machine, phase: str) -> bool:
    return vm.phase == phase and vm.observed_generation == vm.generation


def admitted(vm: Machine, now: datetime) -> dict[str, Any]:
    """The claim is taken, the guest is being started."""
    making = [_condition(vm, kind, now, holds=False, reason="Preparing") for kind in ("DisksReady", "NetworkReady")]
    return _status(
        vm,
        "Starting",
        admittedClaim=_claim_id(vm),
        conditions=[*making, _condition(vm, "Ready", now, holds=False, reason="Starting")],
    )


def refused(vm: Machine, why: Refusal, now: datetime) -> dict[str, Any]:
    """The claim is not taken."""
    ready = _condition(vm, "Ready", now, holds=False, reason="ClaimRefused", message=f"{why.reason}: {why.message}")
    return _status(vm, "Scheduled", refusedClaim=_claim_id(vm), conditions=[ready])


def start_refused(vm: Machine, why: Refusal, now: datetime) -> dict[str, Any]:
    """The claim under which a stopped guest was to start is not taken: it stays off, and here."""
    ready = _condition(vm, "Ready", now, holds=False, reason="ClaimRefused", message=f"{why.reason}: {why.message}")
    return _status(vm, "Stopped", admittedClaim=vm.admitted, stoppedClaim=_claim_id(vm), conditions=[ready])


def outgrown(vm: Machine, shape: Shape, why: Refusal, now: datetime) -> dict[str, Any]:
    """The guest runs on as it is: its node has no room for the new claim."""
    status = running(vm, shape, now)
    restart = _condition(vm, "RestartRequired", now, holds=True, reason=why.reason, message=why.message)
    return {**status, "conditions": [*status["conditions"], restart]}


def running(vm: Machine, shape: Shape, now: datetime) -> dict[str, Any]:
    """The guest runs, with the disks it asked for and the addresses that were claimed."""
    nics = vm.claim.nics if vm.claim else ()
    return _status(
        vm,
        "Running",
        admittedClaim=vm.admitted,
        domainUUID=vm.uid,
        machineType=shape.machine_types[0],
        startedAt=vm.started_at or whole_seconds(now),
        interfaces=[
            {
                "name": nic.name,
                "networkName": nic.network_name,
                "device": f"tap-{nic.name}"[:15],
                "macAddress": nic.mac_address,
                "ipAddresses": [address.partition("/")[0] for address in nic.ip_addresses],
            }
            for nic in nics
        ],
        disks=[
            {
                "name": disk.name,
                "target": f"vd{chr(ord('a') + index)}",
                "capacity": disk.size,
                "source": f"/hollow/{disk.pool}/{vm.uid}-{disk.name}.qcow2",
            }
            for index, disk in enumerate(vm.disks)
        ],
        conditions=[
            _condition(vm, "DisksReady", now, holds=True, reason="DisksReady"),
            _condition(vm, "NetworkReady", now, holds=True, reason="InterfacesAttached"),
            _condition(vm, "Ready", now, holds=True, reason="GuestRunning"),
        ],
    )


def stopped(vm: Machine, now: datetime) -> dict[str, Any]:
    """The guest is off because its user wants it so; CPU and memory are free, the rest of the claim stays."""
    ready = _condition(vm, "Ready", now, holds=False, reason="GuestStopped")
    return _status(vm, "Stopped", admittedClaim=vm.admitted, stoppedClaim=_claim_id(vm), conditions=[ready])


def released(vm: Machine, now: datetime) -> dict[str, Any]:
    """Nothing of the VM is left on the node."""
    answered = {"admittedClaim": vm.admitted} if vm.is_admitted else {}
    ready = _condition(vm, "Ready", now, holds=False, reason="Terminating")
    return _status(vm, "Terminating", **answered, releasedClaim=_claim_id(vm), conditions=[ready])


def _claim_id(vm: Machine) -> str:
    if vm.claim is None:
        raise ValueError(f"{'/'.join(vm.key)} has no claim to answer")
    return vm.claim.id


def _status(vm: Machine, phase: str, **fields: Any) -> dict[str, Any]:
    return {"phase": phase, "observedGeneration": vm.generation, **{name: one for name, one in fields.items() if one}}


def _condition(vm: Machine, kind: str, now: datetime, *, holds: bool, reason: str, message: str = "") -> dict[str, Any]:
    status = str(holds)
    before, since = vm.conditions.get(kind, ("", ""))
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since if before == status else whole_seconds(now),
        "observedGeneration": vm.generation,
    }
