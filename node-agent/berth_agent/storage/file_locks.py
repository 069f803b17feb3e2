"""A lock that two processes see: an agent and its successor, or two agents that share a directory by mistake.

flock(2) goes with the process, so a crash leaves nothing locked. The file is removed while it is held, and whoever
waited for a file that is gone by then starts over with the new one; so no litter is left either.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from berth_agent.storage.errors import ImageBusy

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0


@asynccontextmanager
async def locked(path: Path, *, within_seconds: float) -> AsyncIterator[None]:
    """Hold the lock; it is tried for, not waited for in a thread, so that a caller can be cancelled at any moment.

    Raises:
        ImageBusy: another holds it for longer than that.
    """
    descriptor = await _acquire(path, within_seconds)
    try:
        yield
    finally:
        release(path, descriptor)


async def _acquire(path: Path, within_seconds: float) -> int:
    pause = _FIRST_PAUSE_SECONDS
    try:
        async with asyncio.timeout(within_seconds):
            while (descriptor := try_lock(path)) is None:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    except TimeoutError as error:
        raise ImageBusy(f"another process has worked on {path.stem} for more than {within_seconds:g} s") from error
    return descriptor


def try_lock(path: Path) -> int | None:
    """Return the descriptor that holds the lock, or None if another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.fstat(descriptor)
        there = path.stat()
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    if (held.st_dev, held.st_ino) != (there.st_dev, there.st_ino):
        os.close(descriptor)
        return None
    return descriptor


def release(path: Path, descriptor: int) -> None:
    """Remove the lock's file and let go of it, in this order."""
    path.unlink(missing_ok=True)
    os.close(descriptor)
