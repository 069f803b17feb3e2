"""What a Hypervisor's conditions say of its node: whether libvirt answers, and whether VMs can be started.

A node that misses its heartbeat is told by its Lease; nobody is there then to write a condition.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from re import compile as regex

from berth_api.fields import CONDITION_LIBVIRT_READY
from berth_api.objects import Condition

READY = "Ready"
LIBVIRT_READY = CONDITION_LIBVIRT_READY
_REASON = regex(r"[A-Za-z][A-Za-z0-9]{0,126}")
MAX_MESSAGE = 1024
"""Characters: it quotes libvirt."""


@dataclass(frozen=True)
class Trouble:
    """Why something does not work."""

    reason: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> "Trouble":
        """What an error says, by its `reason` where it has one."""
        reason = str(getattr(error, "reason", "") or type(error).__name__)
        text = " ".join(str(error).split()) or type(error).__name__
        return cls(reason if _REASON.fullmatch(reason) else type(error).__name__, text[:MAX_MESSAGE])


def conditions_of(
    before: Iterable[Condition], *, libvirt: Trouble | None, node: Trouble | None, now: datetime
) -> tuple[Condition, ...]:
    """The conditions as they are now; a transition time moves only when its status does.

    Args:
        before: The conditions that the Hypervisor has.
        libvirt: Why libvirt does not answer; None: it does.
        node: Why the node could not be looked at for another reason; None: it could.
        now: The present time.
    """
    known = {condition.type: condition for condition in before}

    def condition(type_: str, trouble: Trouble | None, well: str) -> Condition:
        status, said = ("True", Trouble(well, "")) if trouble is None else ("False", trouble)
        was = known.get(type_)
        return Condition(
            type=type_,
            status="True" if trouble is None else "False",
            reason=said.reason,
            message=said.message,
            last_transition_time=was.last_transition_time if was is not None and was.status == status else now,
        )

    away = Trouble("LibvirtNotReady", f"no guest can be started or stopped: {libvirt.message}") if libvirt else None
    return (
        condition(READY, away or node, "HypervisorReady"),
        condition(LIBVIRT_READY, libvirt, "LibvirtAnswers"),
    )
