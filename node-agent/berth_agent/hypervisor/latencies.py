"""How long calls to libvirt take, told to whoever counts them.

A call counts from the moment that it is made until its caller has an answer or stops waiting: waiting for a free place
is part of what the caller sees, and what a late call does after its deadline is not.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from berth_agent.hypervisor.errors import HypervisorError

Observe = Callable[[str, float, str], None]
"""Told of a call: its name (such as start_domain), seconds, and outcome: Success, Cancelled, or an error's `reason`."""

SUCCESS = "Success"
CANCELLED = "Cancelled"
UNEXPECTED = "UnexpectedError"


def ignore_call(_name: str, _seconds: float, _outcome: str) -> None:
    """Nobody counts."""


@contextmanager
def observed(name: str, observe: Observe) -> Iterator[None]:
    """Tell of what is done in the context, however it ends."""
    start, outcome = time.monotonic(), UNEXPECTED
    try:
        yield
        outcome = SUCCESS
    except HypervisorError as error:
        outcome = error.reason
        raise
    except asyncio.CancelledError:
        outcome = CANCELLED
        raise
    finally:
        observe(name, time.monotonic() - start, outcome)
