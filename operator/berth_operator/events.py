"""The scheduler's Events: what `kubectl describe vm` shows of a decision. Few are sent while VMs wait to be bound."""

from collections.abc import Callable
from datetime import UTC, datetime

from berth_api.client import Api
from berth_api.events import MAX_NOTE, EventRecorder
from berth_api.fields import OPERATOR

__all__ = ["MAX_NOTE", "Events"]

_BACKLOG = 10_000
_BUSY_PAUSE = 0.05
"""Seconds between Events while VMs wait to be bound: a write is a write to the API server."""


class Events(EventRecorder):
    """Sends Events in the background for as long as `run` does; slowly while `busy`."""

    def __init__(
        self,
        api: Api,
        *,
        instance: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        backlog: int = _BACKLOG,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(
            api,
            controller=OPERATOR,
            instance=instance,
            action="Scheduling",
            pause=lambda: _BUSY_PAUSE if busy() else 0.0,
            now=now,
            backlog=backlog,
        )
