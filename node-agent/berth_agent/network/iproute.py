"""`ip` and `tc` in batches: a handful of processes per attachment.

docs/decisions/0003-tap-and-sandbox.md says what was measured against pyroute2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from berth_agent.network.errors import DatapathFailed
from berth_agent.network.processes import run_process


class LinkCommands(Protocol):
    """Configures links, addresses and filters. Raises DatapathFailed."""

    async def run(self, tool: Literal["ip", "tc"], lines: Sequence[str], netns: Path | None = None) -> None:
        """Run commands in order, stopping at the first that fails."""
        ...

    async def query(self, lines: Sequence[str], netns: Path | None = None) -> list[Any]:
        """Run `ip … show` commands and return what each printed, as parsed JSON."""
        ...


class Iproute:
    """Runs batches in a namespace, or in the agent's own.

    Args:
        deadline: seconds for one batch.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    async def run(self, tool: Literal["ip", "tc"], lines: Sequence[str], netns: Path | None = None) -> None:
        """Run commands in order, stopping at the first that fails."""
        await self._batch([tool, "-batch", "-"], lines, netns)

    async def query(self, lines: Sequence[str], netns: Path | None = None) -> list[Any]:
        """Run `ip … show` commands and return what each printed, as parsed JSON."""
        return list(_documents(await self._batch(["ip", "-json", "-batch", "-"], lines, netns)))

    async def _batch(self, argv: Sequence[str], lines: Sequence[str], netns: Path | None) -> str:
        enter = [] if netns is None else ["nsenter", f"--net={netns}", "--"]
        try:
            done = await run_process(
                [*enter, *argv], deadline=self._deadline, stdin="".join(f"{line}\n" for line in lines).encode()
            )
        except (TimeoutError, OSError) as error:
            raise DatapathFailed(f"{argv[0]} could not be run: {str(error) or 'deadline exceeded'}") from error
        if done.returncode:
            raise DatapathFailed(f"{argv[0]} failed: {done.message} (of: {'; '.join(lines)})")
        return done.stdout.decode()


def _documents(text: str) -> Iterable[Any]:
    decoder = json.JSONDecoder()
    text = text.strip()
    while text:
        document, end = decoder.raw_decode(text)
        yield document
        text = text[end:].lstrip()
