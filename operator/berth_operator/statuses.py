"""The status that the operator owns on a VM, built whole each time: server-side apply takes away what is left out.

`nodeName`, `claim` and the condition Scheduled are always the operator's; `phase` and `observedGeneration` only until
the node's agent applies its own. So what is written about a VM that stays bound leaves both out: by then they are the
agent's. The one exception is a VM whose node is lost: there the operator takes `phase`, and has to repeat it in each
apply until the agent is back and takes it again, which it does by itself, as it finds a phase that is not the VM's.
"""

from datetime import UTC, datetime
from typing import Any

from berth_api.fields import CONDITION_SCHEDULED
from berth_api.virtualmachines import Claim, Phase, VirtualMachine

MAX_MESSAGE = 4096
BOUND = "Bound"
NODE_LOST: Phase = "NodeLost"


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


def bound_message(node: str) -> str:
    """What a VM's condition Scheduled says while all is well."""
    return f"bound to node {node}"


def unbound(vm: VirtualMachine, *, phase: Phase, reason: str, message: str, now: datetime) -> dict[str, Any]:
    """The status of a VM that has no node: it drops a binding that was there."""
    condition = _scheduled(vm, status="False", reason=reason, message=message, now=now)
    return {"status": {"phase": phase, "observedGeneration": vm.metadata.generation, "conditions": [condition]}}


def bound(vm: VirtualMachine, *, node: str, claim: Claim, now: datetime) -> dict[str, Any]:
    """The status that binds a VM to a node."""
    condition = _scheduled(vm, status="True", reason=BOUND, message=bound_message(node), now=now)
    return {
        "status": {
            "nodeName": node,
            "claim": claim.to_api(),
            "phase": "Scheduled",
            "observedGeneration": vm.metadata.generation,
            "conditions": [condition],
        }
    }


def staying(
    vm: VirtualMachine, *, reason: str, message: str, now: datetime, claim: Claim | None = None, lost: bool = False
) -> dict[str, Any]:
    """The status of a VM that stays on its node: under another claim, or only with another reason.

    Args:
        vm: As it is bound now.
        reason: Of the condition Scheduled.
        message: Of the condition Scheduled.
        now: The time.
        claim: The claim that takes the place of the present one.
        lost: The node is lost: the phase says so.
    """
    claim = claim or vm.status.claim
    if claim is None:
        raise ValueError(f"{'/'.join(vm.key)} has no claim: it is not bound")
    condition = _scheduled(vm, status="True", reason=reason, message=message, now=now)
    status = {"nodeName": vm.status.node_name, "claim": claim.to_api(), "conditions": [condition]}
    if lost or vm.status.phase == NODE_LOST:
        status["phase"] = NODE_LOST
    return {"status": status}


def shows_staying(vm: VirtualMachine, body: dict[str, Any]) -> bool:
    """Whether the condition of a VM that stays on its node already says this.

    Whether its phase does is not asked: the node's agent may have taken that back, and so will not be fought over it.
    """
    condition, known = body["status"]["conditions"][0], vm.status.condition(CONDITION_SCHEDULED)
    return known is not None and (known.status, known.reason, known.message) == (
        condition["status"],
        condition["reason"],
        condition["message"],
    )


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
