"""The status that the operator owns on a VM, built whole each time: server-side apply takes away what is left out.

`nodeName`, `claim` and the condition Scheduled are always the operator's; `phase` and `observedGeneration` only until
the node's agent applies its own. So a bound VM's status is written exactly once, by the apply that binds it: a later
one would either repeat a phase that is no longer ours or, leaving it out, take it away before the agent has one.
"""

from datetime import UTC, datetime
from typing import Any

from berth_api.fields import CONDITION_SCHEDULED
from berth_api.virtualmachines import Claim, Phase, VirtualMachine

MAX_MESSAGE = 4096


def _timestamp(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _scheduled(vm: VirtualMachine, *, status: str, reason: str, message: str, now: datetime) -> dict[str, Any]:
    """The condition Scheduled; its transition time moves only when its status does."""
    before = vm.status.condition(CONDITION_SCHEDULED)
    changed = before.last_transition_time if before is not None and before.status == status else now
    return {
        "type": CONDITION_SCHEDULED,
        "status": status,
        "reason": reason,
        "message": message[:MAX_MESSAGE],
        "lastTransitionTime": _timestamp(changed),
        "observedGeneration": vm.metadata.generation,
    }


def unbound(vm: VirtualMachine, *, phase: Phase, reason: str, message: str, now: datetime) -> dict[str, Any]:
    """The status of a VM that has no node: it drops a binding that was there."""
    condition = _scheduled(vm, status="False", reason=reason, message=message, now=now)
    return {"status": {"phase": phase, "observedGeneration": vm.metadata.generation, "conditions": [condition]}}


def bound(vm: VirtualMachine, *, node: str, claim: Claim, now: datetime) -> dict[str, Any]:
    """The status that binds a VM to a node."""
    condition = _scheduled(vm, status="True", reason="Bound", message=f"bound to node {node}", now=now)
    return {
        "status": {
            "nodeName": node,
            "claim": claim.to_api(),
            "phase": "Scheduled",
            "observedGeneration": vm.metadata.generation,
            "conditions": [condition],
        }
    }


def shows(vm: VirtualMachine, body: dict[str, Any]) -> bool:
    """Whether the VM's status already says what an unbound status would: then there is nothing to write."""
    wanted, status = body["status"], vm.status
    condition, known = wanted["conditions"][0], status.condition(CONDITION_SCHEDULED)
    return (
        status.node_name is None
        and status.claim is None
        and status.phase == wanted["phase"]
        and known is not None
        and (known.status, known.reason, known.message, known.observed_generation)
        == (condition["status"], condition["reason"], condition["message"], condition["observedGeneration"])
    )
