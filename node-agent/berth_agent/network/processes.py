"""Run a child process to its end, its deadline, or our cancellation, and leave nothing of it behind.

A plugin starts processes of its own (its IPAM plugin, iptables): the whole group is killed, or a hung grandchild would
hold the pipes open and go on changing the network while DEL already runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_GRACE = 5.0


@dataclass(frozen=True, slots=True)
class Completed:
    """How a process ended, and what it wrote."""

    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def message(self) -> str:
        """What it said, for an error: standard error, else standard output."""
        return (self.stderr.strip() or self.stdout.strip()).decode(errors="replace")[:2000]


async def run_process(
    argv: Sequence[str], *, deadline: float, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> Completed:
    """Run a program with its input and collect its output.

    Args:
        argv: an argument list; never a shell's.
        deadline: seconds until its process group is killed.
        stdin: its whole input.
        env: its whole environment; None: ours.

    Raises:
        TimeoutError: it was killed at the deadline.
        OSError: it could not be started.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=None if env is None else dict(env),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(deadline):
            stdout, stderr = await process.communicate(stdin)
    except BaseException:
        await _kill_group(process)
        raise
    assert process.returncode is not None  # noqa: S101 - communicate() waits for the end
    return Completed(process.returncode, stdout, stderr)


async def _kill_group(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE):
            await process.wait()
