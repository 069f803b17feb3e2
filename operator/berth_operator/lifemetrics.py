"""What is counted of VMs' lives, from the timestamps and counts that their status carries, as it changes.

Only the leader counts, and only changes that it sees happen: what it finds when it takes over was counted by the leader
before it. Timestamps of the API have whole seconds, so what takes less falls into the lowest buckets.
"""

from datetime import datetime
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from berth_api.fields import CONDITION_SCHEDULED
from berth_api.virtualmachines import EndReason, VirtualMachine, VirtualMachineStatus

TRANSITION_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
CREATED_TO_BOUND, BOUND_TO_RUNNING = "created_to_bound", "bound_to_running"


class LifeMetrics:
    """Counters and histograms; `counts` says whether this operator leads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        durations = Histogram(
            "berth_virtualmachine_transition_duration_seconds",
            "Time between two moments of a VM's life, by its own timestamps",
            ["transition"],
            buckets=TRANSITION_BUCKETS,
            registry=registry,
        )
        self._durations = {name: durations.labels(name) for name in (CREATED_TO_BOUND, BOUND_TO_RUNNING)}
        restarts = Counter(
            "berth_virtualmachine_restarts",
            "Starts of guests that had ended or were restarted, by how they had ended",
            ["reason"],
            registry=registry,
        )
        self._restarts = {reason: restarts.labels(reason) for reason in get_args(EndReason)}
        self.counts = False
        self._unstarted: set[str] = set()
        """UIDs of VMs whose binding was seen, and whose first start has not been since then."""

    def changed(self, old: VirtualMachine | None, new: VirtualMachine | None) -> None:
        """A VM changed; nothing is counted of one that is seen for the first time, or gone."""
        if old is not None and (new is None or old.metadata.uid != new.metadata.uid):
            self._unstarted.discard(old.metadata.uid)
        if not self.counts or old is None or new is None or old.metadata.uid != new.metadata.uid:
            return
        before, after = old.status, new.status
        if before.node_name is None and after.node_name is not None and before.admitted_claim is None:
            self._took(CREATED_TO_BOUND, new.metadata.creation_timestamp, _bound_at(after))
            self._unstarted.add(new.metadata.uid)
        if new.metadata.uid in self._unstarted and (after.started_at is not None or after.stopped_claim is not None):
            self._unstarted.remove(new.metadata.uid)
            if after.started_at is not None:
                self._took(BOUND_TO_RUNNING, _bound_at(after), after.started_at)
        more = (after.restart_count or 0) - (before.restart_count or 0)
        if more > 0:
            self._restarts[after.end_reason or before.end_reason or "Unknown"].inc(more)

    def _took(self, transition: str, begin: datetime | None, end: datetime | None) -> None:
        if begin is not None and end is not None:
            self._durations[transition].observe(max(0.0, (end - begin).total_seconds()))


def _bound_at(status: VirtualMachineStatus) -> datetime | None:
    condition = status.condition(CONDITION_SCHEDULED)
    return condition.last_transition_time if condition is not None and condition.status == "True" else None
