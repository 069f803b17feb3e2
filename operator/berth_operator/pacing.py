"""How much the scheduler does at once, and how long it waits until it does something again."""

from dataclasses import dataclass, field

from berth_api.workqueues import Backoff
from berth_operator.scheduling.parking import Pace
from berth_operator.settings import Settings


@dataclass(frozen=True)
class Pacing:
    """How much at once, and how long until. Times in seconds."""

    writes: int = 64
    backoff: Backoff = field(default_factory=Backoff)
    poll: float = 15.0
    """Between looks for what is not watched."""
    pace: Pace = field(default_factory=Pace)
    reserve_after: float = 30.0
    reserve_hold: float = 300.0

    @classmethod
    def of(cls, settings: Settings) -> "Pacing":
        """As an administrator wants it."""
        return cls(
            writes=settings.writes_in_flight,
            backoff=Backoff(settings.backoff_first, settings.backoff_most),
            poll=settings.secret_poll,
            pace=Pace(retry=settings.retry_parked, retell=settings.retell),
            reserve_after=settings.reserve_after,
            reserve_hold=settings.reserve_hold,
        )
