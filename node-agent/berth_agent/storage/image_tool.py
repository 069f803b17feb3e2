"""Running qemu-img: with a deadline, with limits, and with nothing of its output trusted to be short."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from berth_agent.storage.errors import ImageRejected, ImageToolFailed
from berth_agent.storage.settings import ImageLimits
from berth_agent.storage.sources import ImageFormat

_MAX_OUTPUT = 1 << 20
_END_SECONDS = 5.0
"""For a killed tool to end: one that waits for a file system which is away ends only when that is back."""
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class ImageTool:
    """qemu-img, for the few things that only QEMU can say or make."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits

    async def info(self, path: Path, image_format: ImageFormat) -> dict[str, Any]:
        """Let QEMU open an image nobody has looked at, within memory and CPU limits; return what it says.

        Raises:
            ImageRejected: QEMU cannot open it, or needs more than the limits for it.
        """
        limited = (
            "prlimit",
            f"--as={self._limits.tool_memory_bytes}",
            f"--cpu={max(1, int(self._limits.tool_seconds))}",
            "--core=0",
            "--",
        )
        command = (*limited, "qemu-img", "info", "--output=json", "-f", image_format, str(path))
        try:
            status, output = await self._run(command)
        except ImageToolFailed as error:
            raise ImageRejected(f"QEMU needs too much to open the image: {error}") from error
        if status != 0:
            raise ImageRejected(f"QEMU cannot open the image: {_last_line(output, path)}")
        try:
            said = json.loads(output)
        except ValueError as error:
            raise ImageRejected("QEMU says nothing intelligible about the image") from error
        if not isinstance(said, dict):
            raise ImageRejected("QEMU says nothing intelligible about the image")
        return said

    async def create_overlay(self, path: Path, *, size: int, backing: tuple[Path, ImageFormat] | None) -> None:
        """Make a qcow2 file of `size` virtual bytes, mode 0600, blank or on a backing file of a stated format.

        Raises:
            ImageToolFailed: qemu-img did not do it.
        """
        on = () if backing is None else ("-b", str(backing[0]), "-F", str(backing[1]))
        status, output = await self._run(("qemu-img", "create", "-q", "-f", "qcow2", *on, "--", str(path), str(size)))
        if status != 0:
            raise ImageToolFailed(f"qemu-img could not make the disk: {_last_line(output, path)}")

    async def _run(self, command: Sequence[str]) -> tuple[int, bytes]:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_ENVIRONMENT,
            umask=0o077,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._limits.tool_seconds):
                output = await _read_at_most(process, _MAX_OUTPUT)
                return await process.wait(), output
        except TimeoutError as error:
            raise ImageToolFailed(f"qemu-img took longer than {self._limits.tool_seconds:g} s") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.wait({asyncio.ensure_future(process.wait())}, timeout=_END_SECONDS)


async def _read_at_most(process: asyncio.subprocess.Process, limit: int) -> bytes:
    assert process.stdout is not None  # noqa: S101 - for the type checker: it was asked for
    output = bytearray()
    while data := await process.stdout.read(1 << 16):
        output += data
        if len(output) > limit:
            raise ImageToolFailed(f"qemu-img said more than {limit} bytes")
    return bytes(output)


def _last_line(output: bytes, path: Path) -> str:
    """What the tool said at last, without the node's path in it, which the image's owner has no business with."""
    lines = output.decode("utf-8", "backslashreplace").strip().splitlines() or ["it says nothing"]
    return lines[-1].replace(str(path), path.name)[:500]
