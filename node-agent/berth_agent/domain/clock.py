"""`<clock>`: UTC, with timers that neither drift after a stall nor wake the host for nothing.

A guest that was stopped for a while catches up the RTC's missed ticks, not the PIT's, and has no HPET, which would
keep an idle guest's process awake. This is what virt-manager and Nova give Linux guests too.
"""

from typing import Literal

from pydantic_xml import attr

from berth_agent.domain.elements import Element, YesNo


class Timer(Element, tag="timer"):
    """A timer that the guest sees, or does not."""

    name: Literal["rtc", "pit", "hpet"] = attr()
    tickpolicy: Literal["catchup", "delay"] | None = attr(default=None)
    present: YesNo | None = attr(default=None)


class Clock(Element, tag="clock"):
    """The guest's hardware clock."""

    offset: Literal["utc"] = attr(default="utc")
    timers: tuple[Timer, ...] = (
        Timer(name="rtc", tickpolicy="catchup"),
        Timer(name="pit", tickpolicy="delay"),
        Timer(name="hpet", present="no"),
    )
