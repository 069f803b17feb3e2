"""Waiting for what the agent cannot do without, at its start: it may come up before libvirtd or the API server do.

An agent that ended instead would be started again and again, ever later, and would miss heartbeats meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from socket import gaierror
from typing import TypeVar

import structlog

from berth_agent.hypervisor.errors import HypervisorError
from berth_api.client import ApiError, Forbidden, Unauthorized

log = structlog.get_logger()

T = TypeVar("T")
_PAUSE = 1.0
"""Seconds between attempts."""
REFUSALS = 60
"""Attempts that an API server which has just been started may refuse: it answers before it knows all roles and tokens.
An agent that ended for it would miss heartbeats, just when those of all nodes are late."""
_MAYBE_TOO_EARLY = (Forbidden, Unauthorized)


async def _keep_quiet(_error: Exception) -> None:
    """Tell nobody but the log."""


async def until_available(
    what: str,
    attempt: Callable[[], Awaitable[T]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    *,
    tell: Callable[[Exception], Awaitable[None]] = _keep_quiet,
) -> T:
    """Attempt it until it works, and tell of each attempt that does not.

    Raises:
        ApiError, HypervisorError: it failed in a way that waiting does not mend.
    """
    refused = 0
    while True:
        try:
            return await attempt()
        except (ApiError, HypervisorError) as error:
            refused += not error.retryable
            if not error.retryable and (refused > REFUSALS or not isinstance(error, _MAYBE_TOO_EARLY)):
                raise
            log.warning("waiting", what=what, reason=error.reason or type(error).__name__, error=str(error))
            await tell(error)
        except gaierror as error:
            log.warning("waiting", what=what, reason="NameNotResolved", error=str(error))
        except OSError as error:
            log.warning("waiting", what=what, reason="NodeFileFailed", error=str(error))
        await sleep(_PAUSE)
